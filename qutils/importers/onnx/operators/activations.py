"""Activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qutils.importers.onnx.call import Call, Converter, Made, made


def _with_alpha(function: Callable[..., Any], default: float, name: str = "alpha") -> Converter:
    """Return the converter of a function with one number, which ONNX calls alpha."""
    return lambda call: made(function, call.x, **{name: call.attribute("alpha", default)})


def _plain(function: Callable[..., Any]) -> Converter:
    return lambda call: made(function, call.x)


def _hard_sigmoid(call: Call) -> Made:
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return made(F.hardsigmoid, call.x)
    return made(_clipped_line, call.x, alpha=alpha, beta=beta)


def _clipped_line(x: Tensor, alpha: float, beta: float) -> Tensor:
    return torch.clamp(x * alpha + beta, 0, 1)


def _selu(call: Call) -> Made:
    alpha = call.attribute("alpha", 1.6732631921768188)
    gamma = call.attribute("gamma", 1.0507010221481323)
    return made(_scaled_elu, call.x, alpha=alpha, gamma=gamma)


def _scaled_elu(x: Tensor, alpha: float, gamma: float) -> Tensor:
    return F.elu(x, alpha) * gamma


def _gelu(call: Call) -> Made:
    return made(F.gelu, call.x, approximate=call.attribute("approximate", "none"))


def _swish(call: Call) -> Made:
    alpha = call.attribute("alpha", 1.0)
    return made(F.silu, call.x) if alpha == 1 else made(_scaled_swish, call.x, alpha=alpha)


def _scaled_swish(x: Tensor, alpha: float) -> Tensor:
    return x * torch.sigmoid(x * alpha)


def _thresholded_relu(call: Call) -> Made:
    return made(F.threshold, call.x, threshold=call.attribute("alpha", 1.0), value=0.0)


def _shrink(call: Call) -> Made:
    lambd, bias = call.attribute("lambd", 0.5), call.attribute("bias", 0.0)
    if bias not in (0, lambd):
        raise call.refuse(f"bias={bias:g} beside lambd={lambd:g} has no counterpart")
    return made(F.softshrink if bias else F.hardshrink, call.x, lambd=lambd)


def _prelu(call: Call) -> Made:
    """A slope for each channel is a layer; slopes of any other shape are a tensor."""
    slope = call.operand(1)
    sizes = [size for size in slope.shape if size != 1]
    places = [i - slope.ndim + call.x.ndim for i, size in enumerate(slope.shape) if size != 1]
    if slope.is_constant and len(sizes) <= 1 and places in ([], [1]) and call.x.ndim > 1:
        layer = nn.PReLU(int(slope.probes[0].numel()))
        layer.weight = nn.Parameter(slope.probes[0].reshape(-1).clone())
        return Made(layer, (call.x,))
    return made(_sloped, call.x, slope)


def _sloped(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _softmax(function: Callable[..., Any]) -> Converter:
    """Return the converter of a softmax; before set 13 it spans all axes from ``axis`` on."""

    def convert(call: Call) -> Made:
        axis = call.attribute("axis", -1 if call.opset >= 13 else 1)
        if call.opset >= 13 or axis % call.x.ndim == call.x.ndim - 1:
            return made(function, call.x, dim=axis)
        return made(_over_rest, call.x, function=function, axis=axis % call.x.ndim)

    return convert


def _over_rest(x: Tensor, function: Callable[..., Tensor], axis: int) -> Tensor:
    return function(x.flatten(axis), dim=axis).reshape(x.shape)


ACTIVATIONS: dict[str, Converter] = {
    "Celu": _with_alpha(F.celu, 1.0),
    "Elu": _with_alpha(F.elu, 1.0),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(F.hardswish),
    "LeakyRelu": _with_alpha(F.leaky_relu, 0.01, "negative_slope"),
    "LogSoftmax": _softmax(torch.log_softmax),
    "Mish": _plain(F.mish),
    "PRelu": _prelu,
    "Relu": _plain(torch.relu),
    "Selu": _selu,
    "Shrink": _shrink,
    "Softmax": _softmax(torch.softmax),
    "Softplus": _plain(F.softplus),
    "Softsign": _plain(F.softsign),
    "Swish": _swish,
    "ThresholdedRelu": _thresholded_relu,
}
