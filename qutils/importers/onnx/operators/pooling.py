"""Pooling over windows and over all of space."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from qutils.importers.onnx.call import Call, Converter, Made, made
from qutils.importers.onnx.operators.windows import Window

_MAX: dict[int, Callable[..., Any]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE: dict[int, Callable[..., Any]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_GLOBAL: dict[str, dict[int, Callable[..., Any]]] = {
    "GlobalAveragePool": {
        1: F.adaptive_avg_pool1d,
        2: F.adaptive_avg_pool2d,
        3: F.adaptive_avg_pool3d,
    },
    "GlobalMaxPool": {
        1: F.adaptive_max_pool1d,
        2: F.adaptive_max_pool2d,
        3: F.adaptive_max_pool3d,
    },
}


def _window(call: Call) -> Window:
    window = Window.of(call, call.attribute("kernel_shape"))
    if window.axes not in _MAX:
        raise call.refuse(f"pooling over {window.axes} axes has no counterpart")
    return window


def _is_native(window: Window) -> bool:
    """Whether PyTorch's pooling pads like this: evenly, by half a window at most."""
    return window.is_even and all(
        pad <= k // 2 for pad, k in zip(window.begin, window.kernel, strict=True)
    )


def _max_pool(call: Call) -> Made:
    if len(call.node.output) > 1 and call.node.output[1]:
        raise call.refuse("the places of its maxima are read, which has no counterpart")
    window = _window(call)
    settings: dict[str, Any] = {
        "kernel_size": window.kernel,
        "stride": window.stride,
        "dilation": window.dilation,
        "ceil_mode": bool(call.attribute("ceil_mode", 0)),
    }
    pool = made(_MAX[window.axes], call.x, **settings)
    if _is_native(window):
        return made(_MAX[window.axes], call.x, **settings, padding=window.begin)
    return Made(pool.module, pool.operands, before=window.padding(-math.inf))


def _average_pool(call: Call) -> Made:
    """Zeros of the padding count or do not; unlike paddings are summed and divided apart."""
    window, pool = _window(call), _AVERAGE[_window(call).axes]
    counts_padding = bool(call.attribute("count_include_pad", 0))
    settings: dict[str, Any] = {
        "kernel_size": window.kernel,
        "stride": window.stride,
        "ceil_mode": bool(call.attribute("ceil_mode", 0)),
    }
    if set(window.dilation) != {1}:
        raise call.refuse(f"dilations={list(window.dilation)} has no counterpart")
    if _is_native(window):
        padding = {"padding": window.begin, "count_include_pad": counts_padding}
        return made(pool, call.x, **settings, **(padding if any(window.begin) else {}))
    before = window.padding()
    if counts_padding:
        return Made(made(pool, call.x, **settings).module, (call.x,), before=before)
    ones = F.pad(torch.ones(1, 1, *call.sides()), window.pairs)
    share = pool(ones, **settings)  # of each window, how much is no padding
    kept = call.keep("share", share)
    shared = made(_shared, call.x, kept, pool=pool, settings=settings)
    return Made(shared.module, shared.operands, before=before)


def _shared(
    x: Tensor, share: Tensor, pool: Callable[..., Tensor], settings: dict[str, Any]
) -> Tensor:
    return pool(x, **settings) / share


def _global_pool(call: Call) -> Made:
    axes = call.x.ndim - 2
    function = _GLOBAL[call.op].get(axes)
    if function is None:
        raise call.refuse(f"pooling over {axes} axes has no counterpart")
    return made(function, call.x, output_size=1 if axes == 1 else (1,) * axes)


def _lp_pool(call: Call) -> Made:
    window = _window(call)
    if any(window.pairs) or set(window.dilation) != {1} or window.axes > 2:
        raise call.refuse("its padding, dilations or axes have no counterpart")
    function = {1: F.lp_pool1d, 2: F.lp_pool2d}[window.axes]
    kernel: Any = window.kernel if window.axes == 2 else window.kernel[0]
    stride: Any = window.stride if window.axes == 2 else window.stride[0]
    return made(
        function,
        call.x,
        norm_type=float(call.attribute("p", 2)),
        kernel_size=kernel,
        stride=stride,
        ceil_mode=bool(call.attribute("ceil_mode", 0)),
    )


POOLING: dict[str, Converter] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}
