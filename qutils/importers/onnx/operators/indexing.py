"""Operators that pick and place values by indices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from qutils.importers.onnx.call import Call, Converter, Made, made
from qutils.importers.onnx.operators.layers import embedding


def _gather(call: Call) -> Made:
    """Stored indices become slices or picks; a stored table with computed ones an embedding."""
    axis = call.attribute("axis", 0) % call.x.ndim
    index = call.operand(1)
    if call.x.is_constant and not index.is_static and axis == 0 and call.x.ndim == 2:
        if call.x.dtype.is_floating_point:
            return Made(embedding(call.x.probes[0]), (index,))
    elif index.is_constant and isinstance(call.x.shape[axis], int):
        return _pick(call, axis, index.probes[0])
    return made(_gathered, call.x, index, axis=axis)


def _pick(call: Call, axis: int, index: Tensor) -> Made:
    (side,) = call.settled([call.x.shape[axis]])
    places = [int(i) + side if i < 0 else int(i) for i in index.reshape(-1)]
    if index.ndim == 0:
        return made(torch.select, call.x, dim=axis, index=places[0])
    steps = {b - a for a, b in pairwise(places)}
    if index.ndim == 1 and steps <= {1} and places:
        return made(_narrowed, call.x, axis=axis, start=places[0], end=places[-1] + 1)
    kept = call.keep("places", torch.tensor(places, dtype=torch.int64))
    return made(_picked, call.x, kept, axis=axis, shape=list(index.shape))


def _narrowed(x: Tensor, axis: int, start: int, end: int) -> Tensor:
    index: list[slice] = [slice(None)] * x.ndim
    index[axis] = slice(start, end)
    return x[tuple(index)]


def _picked(x: Tensor, places: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
    y = x.index_select(axis, places)
    return y if len(shape) == 1 else torch.unflatten(y, axis, list(shape))


def _gathered(x: Tensor, index: Tensor, axis: int) -> Tensor:
    side = x.shape[axis]
    places = torch.where(index < 0, index + side, index).to(torch.int64)
    y = x.index_select(axis, places.reshape(-1))
    return y.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _gather_elements(call: Call) -> Made:
    return made(_elements, call.x, call.operand(1), axis=call.attribute("axis", 0))


def _elements(x: Tensor, index: Tensor, axis: int) -> Tensor:
    places = torch.where(index < 0, index + x.shape[axis], index).to(torch.int64)
    return x.gather(axis, places)


def _gather_nd(call: Call) -> Made:
    if call.attribute("batch_dims", 0):
        return made(_of_each_sample, *call.given(), axes=call.attribute("batch_dims"))
    return made(_at_points, *call.given())


def _at_points(x: Tensor, index: Tensor) -> Tensor:
    return x[tuple(part.to(torch.int64) for part in index.unbind(-1))]


def _of_each_sample(x: Tensor, index: Tensor, axes: int) -> Tensor:
    picks = [
        torch.arange(x.shape[axis], device=x.device).reshape(
            [-1 if i == axis else 1 for i in range(index.ndim - 1)]
        )
        for axis in range(axes)
    ]
    return x[(*picks, *(part.to(torch.int64) for part in index.unbind(-1)))]


def _scatter_nd(call: Call) -> Made:
    if call.attribute("reduction", "none") not in ("none", "add"):
        raise call.refuse(f"reduction={call.attribute('reduction')} has no counterpart")
    adds = call.attribute("reduction", "none") == "add"
    return made(_scattered, *call.given(), adds=adds)


def _scattered(x: Tensor, index: Tensor, updates: Tensor, adds: bool) -> Tensor:
    places = tuple(part.to(torch.int64) for part in index.unbind(-1))
    return x.index_put(places, updates.to(x.dtype), accumulate=adds)


def _scatter_elements(call: Call) -> Made:
    if call.attribute("reduction", "none") != "none":
        raise call.refuse(f"reduction={call.attribute('reduction')} has no counterpart")
    return made(_scattered_elements, *call.given(), axis=call.attribute("axis", 0))


def _scattered_elements(x: Tensor, index: Tensor, updates: Tensor, axis: int) -> Tensor:
    places = torch.where(index < 0, index + x.shape[axis], index).to(torch.int64)
    return x.scatter(axis, places, updates)


def _one_hot(call: Call) -> Made:
    depth = int(call.constant(1).reshape(()))
    off, on = call.constant(2).reshape(-1).tolist()
    dtype = call.constant(2).dtype
    axis = call.attribute("axis", -1)
    return made(_marked, call.x, depth=depth, values=(off, on), axis=axis, dtype=dtype)


def _marked(
    x: Tensor, depth: int, values: tuple[float, float], axis: int, dtype: torch.dtype
) -> Tensor:
    axis = axis + x.ndim + 1 if axis < 0 else axis
    places = torch.remainder(x.to(torch.int64), depth).unsqueeze(axis)
    classes = torch.arange(depth, device=x.device)
    classes = classes.reshape([-1 if i == axis else 1 for i in range(x.ndim + 1)])
    same = (places == classes).to(dtype)
    return same * (values[1] - values[0]) + values[0]


INDEXING: dict[str, Converter] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
}
