"""Normalization over the batch's statistics, channels, groups and vectors."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from qutils.importers.onnx.call import Call, Converter, Function, Made, made

_EPSILON = 1e-5
_BATCH_NORM: dict[int, Any] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
_INSTANCE_NORM: dict[int, Any] = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


def _parameter(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().reshape(-1).clone())


def _batch_norm(call: Call) -> Made:
    if call.attribute("training_mode", 0) or call.attribute("spatial", 1) != 1:
        raise call.refuse("statistics of a batch in training, or of each place, are not imported")
    kind = _BATCH_NORM.get(call.x.ndim)
    if kind is None:
        raise call.refuse(f"an input of {call.x.ndim} axes has no counterpart")
    scale, bias, mean, variance = (call.constant(i) for i in (1, 2, 3, 4))
    layer = kind(scale.numel(), eps=call.attribute("epsilon", _EPSILON))
    layer.weight, layer.bias = _parameter(scale), _parameter(bias)
    layer.running_mean = mean.detach().reshape(-1).clone()
    layer.running_var = variance.detach().reshape(-1).clone()
    return Made(layer, (call.x,))


def _instance_norm(call: Call) -> Made:
    kind = _INSTANCE_NORM.get(call.x.ndim)
    if kind is None:
        raise call.refuse(f"an input of {call.x.ndim} axes has no counterpart")
    scale, bias = call.constant(1), call.constant(2)
    layer = kind(scale.numel(), eps=call.attribute("epsilon", _EPSILON), affine=True)
    layer.weight, layer.bias = _parameter(scale), _parameter(bias)
    return Made(layer, (call.x,))


def _layer_norm(call: Call) -> Made:
    axis = call.attribute("axis", -1) % call.x.ndim
    sizes = call.settled(call.x.shape[axis:])
    eps = call.attribute("epsilon", _EPSILON)
    if any(call.node.output[1:]):
        raise call.refuse("its mean or deviation is read, which has no counterpart")
    if call.x.is_static or not all(value.is_constant for value in call.given()[1:]):
        return made(_layer_norm_of, *call.given(), sizes=sizes, eps=eps)
    layer = nn.LayerNorm(sizes, eps=eps, bias=call.has(2))
    layer.weight = nn.Parameter(call.constant(1).detach().expand(sizes).clone())
    if call.has(2):
        layer.bias = nn.Parameter(call.constant(2).detach().expand(sizes).clone())
    return Made(layer, (call.x,))


def _layer_norm_of(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, *, sizes: list[int], eps: float
) -> Tensor:
    y = F.layer_norm(x, sizes, eps=eps) * scale
    return y if bias is None else y + bias


def _rms_norm(call: Call) -> Made:
    axis = call.attribute("axis", -1) % call.x.ndim
    sizes = call.settled(call.x.shape[axis:])
    layer = nn.RMSNorm(sizes, eps=call.attribute("epsilon", _EPSILON))
    layer.weight = nn.Parameter(call.constant(1).detach().expand(sizes).clone())
    return Made(layer, (call.x,))


def _group_norm(call: Call) -> Made:
    """Scale and bias are of groups before set 21, of channels from then on."""
    groups, (channels,) = call.attribute("num_groups"), call.settled(call.x.shape[1:2])
    scale, bias = (call.constant(i).detach().reshape(-1) for i in (1, 2))
    if len(scale) == groups != channels:
        scale, bias = (t.repeat_interleave(channels // groups) for t in (scale, bias))
    layer = nn.GroupNorm(groups, channels, eps=call.attribute("epsilon", _EPSILON))
    layer.weight, layer.bias = _parameter(scale), _parameter(bias)
    return Made(layer, (call.x,))


def _lp_norm(call: Call) -> Made:
    order, axis = call.attribute("p", 2), call.attribute("axis", -1)
    return made(F.normalize, call.x, p=float(order), dim=axis)


def _local_response_norm(call: Call) -> Made:
    """ONNX and PyTorch agree on windows of an odd size."""
    size = call.attribute("size")
    if size % 2 == 0:
        raise call.refuse(f"a window of an even size ({size}) has no counterpart")
    settings = {
        "size": size,
        "alpha": call.attribute("alpha", 1e-4),
        "beta": call.attribute("beta", 0.75),
        "k": call.attribute("bias", 1.0),
    }
    return Made(Function(F.local_response_norm, settings), (call.x,))


def _mean_variance(call: Call) -> Made:
    axes = tuple(axis % call.x.ndim for axis in call.attribute("axes", [0, 2, 3]))
    if call.x.batch_axis in axes:
        raise call.refuse("it normalizes over the samples of a batch")
    return made(_standardized, call.x, axes=axes)


def _standardized(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True).sqrt() + 1e-9)


NORMALIZATION: dict[str, Converter] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response_norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_norm,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _rms_norm,
}
