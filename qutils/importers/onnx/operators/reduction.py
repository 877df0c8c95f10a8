"""Reductions over axes, and what picks the largest."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from qutils.importers.onnx.call import Call, Converter, Made, made
from qutils.importers.onnx.values import Value


def _reduce_axes(call: Call) -> tuple[list[int] | None, bool]:
    """Axes (None: all) and whether they are kept with size 1."""
    axes = call.numbers("axes", 1)
    if not axes:
        if call.attribute("noop_with_empty_axes", 0):
            return [], True
        axes = None
    return axes, bool(call.attribute("keepdims", 1))


def _reduction(call: Call) -> Made | Value:
    axes, keep = _reduce_axes(call)
    if axes == []:
        function = _NOTHING_REDUCED.get(call.op)
        return call.x if function is None else made(function, call.x)
    places = sorted(axis % call.x.ndim for axis in axes or range(call.x.ndim))
    if call.x.batch_axis in places and not call.x.is_static:
        raise call.refuse("it reduces over the samples of a batch")
    if call.op == "ReduceMax" and call.x.ndim == 4 and places == [2, 3] and not call.x.is_static:
        return made(_global_max_pool, call.x, keepdim=keep)
    return made(_REDUCTIONS[call.op], call.x, dim=tuple(places), keepdim=keep)


def _global_max_pool(x: Tensor, keepdim: bool) -> Tensor:
    """The maximum over ``[2, 3]`` is a pooling, which kernels know."""
    y = F.adaptive_max_pool2d(x, 1)
    return y if keepdim else y.flatten(1)


def _sum(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.sum(x, dim, keepdim=keepdim, dtype=x.dtype)


def _mean(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.mean(x, dim, keepdim=keepdim)


def _sum_of_squares(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.sum(x * x, dim, keepdim=keepdim, dtype=x.dtype)


def _first_norm(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.sum(x.abs(), dim, keepdim=keepdim, dtype=x.dtype)


def _second_norm(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.sqrt(torch.sum(x * x, dim, keepdim=keepdim))


def _product(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in reversed(dim):
        x = torch.prod(x, axis, keepdim=keepdim, dtype=x.dtype)
    return x


def _log_sum(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.log(torch.sum(x, dim, keepdim=keepdim))


_REDUCTIONS: dict[str, Any] = {
    "ReduceL1": _first_norm,
    "ReduceL2": _second_norm,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceMax": torch.amax,
    "ReduceMean": _mean,
    "ReduceMin": torch.amin,
    "ReduceProd": _product,
    "ReduceSum": _sum,
    "ReduceSumSquare": _sum_of_squares,
}
#: What a reduction over no axes does to each element, where it does something.
_NOTHING_REDUCED: dict[str, Any] = {
    "ReduceL1": torch.abs,
    "ReduceL2": torch.abs,
    "ReduceLogSum": torch.log,
    "ReduceSumSquare": torch.square,
}


def _extreme(call: Call) -> Made:
    """``ArgMax`` and ``ArgMin``; of equal values the first."""
    if call.attribute("select_last_index", 0):
        raise call.refuse("the last of equal values has no counterpart")
    function = torch.argmax if call.op == "ArgMax" else torch.argmin
    axis, keep = call.attribute("axis", 0), bool(call.attribute("keepdims", 1))
    if axis % call.x.ndim == call.x.batch_axis:
        raise call.refuse("it compares the samples of a batch")
    return made(function, call.x, dim=axis, keepdim=keep)


def _top_k(call: Call) -> Made:
    (count,) = call.numbers("k", 1) or [math.nan]
    axis, largest = call.attribute("axis", -1), bool(call.attribute("largest", 1))
    return made(torch.topk, call.x, k=int(count), dim=axis, largest=largest, sorted=True)


REDUCTION: dict[str, Converter] = {
    **dict.fromkeys(_REDUCTIONS, _reduction),
    "ArgMax": _extreme,
    "ArgMin": _extreme,
    "TopK": _top_k,
}
