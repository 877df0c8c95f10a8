"""Transposed convolution as a convolution whose channels are then arranged in space.

No CPU runtime has an integer kernel for transposed convolution. With stride ``s`` the outputs of
one phase, ``i = s m + r``, are a convolution of the input by every s-th tap of the filter:

    y[s m + r] = sum_t x[m - t] w[s t + r],   0 <= r < s

All phases together are one convolution with ``s`` (per axis) times as many channels, followed by a
pixel shuffle: the same sums of the same products. Where ``s`` does not divide the filter's size,
some taps are zero and add multiply-adds.
Source: Shi et al. 2016, arXiv:1609.07009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import GraphModule, Node

from qutils.graph.nodes import argument, constant, insert, op_name
from qutils.graph.parameters import new_parameter, trains

_ATEN = torch.ops.aten
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_CONVOLUTIONS = {1: _ATEN.conv1d.default, 2: _ATEN.conv2d.default, 3: _ATEN.conv3d.default}
_END = 2**63 - 1


@dataclass(frozen=True)
class _Axis:
    """One axis in space: stride, taps of a phase, zeros around the input, outputs to cut off.

    A negative number of zeros cuts off inputs, whose outputs all fall into the padding.
    """

    stride: int
    taps: int
    before: int
    after: int
    cut: int
    surplus: int


def by_output(weight: Tensor, groups: int) -> Tensor:
    """Filters ``[I, O / groups, ...]`` of a transposed convolution as ``[O, I / groups, ...]``.

    It is its own inverse.
    """
    inputs, outputs, *kernel = weight.shape
    turned = weight.reshape(groups, inputs // groups, outputs, *kernel).transpose(1, 2)
    return turned.reshape(groups * outputs, inputs // groups, *kernel)


def rewrite_transposed(module: GraphModule) -> None:
    """Replace transposed convolutions with stored filters, in place."""
    for node in list(module.graph.nodes):
        weight = constant(module, argument(node, 1)) if op_name(node) in TRANSPOSED else None
        if weight is not None:
            _replace(module, node, weight)


def _replace(module: GraphModule, node: Node, weight: Tensor) -> None:
    sizes = weight.shape[2:]
    stride, padding, extra, dilation = (
        _each(argument(node, place, default), len(sizes))
        for place, default in ((3, 1), (4, 0), (5, 0), (7, 1))
    )
    groups = int(argument(node, 6, 1))
    axes = [_axis(*values) for values in zip(sizes, stride, padding, extra, dilation, strict=True)]
    filters = _phases(by_output(weight.detach(), groups), axes, dilation)
    source: Any = node.args[0]
    pads = [amount for axis in reversed(axes) for amount in (axis.before, axis.after)]
    if any(pads):
        batch, channels, *inside = source.meta["val"].shape
        padded = [n + a.before + a.after for n, a in zip(inside, axes, strict=True)]
        value = source.meta["val"].new_empty([batch, channels, *padded])
        source = insert(node, _ATEN.constant_pad_nd.default, (source, pads), value)
    ones = [1] * len(axes)
    args = (source, *_stored(module, node, filters, axes), ones, [0] * len(axes), ones, groups)
    results = [
        n + 1 - axis.taps for n, axis in zip(source.meta["val"].shape[2:], axes, strict=True)
    ]
    value = source.meta["val"].new_empty([source.meta["val"].shape[0], len(filters), *results])
    made = insert(node, _CONVOLUTIONS[len(axes)], args, value)
    made = _cut(node, _shuffled(node, made, axes), axes)
    node.replace_all_uses_with(made)
    module.graph.erase_node(node)


def _axis(size: int, stride: int, padding: int, extra: int, dilation: int) -> _Axis:
    span = dilation * (size - 1) + 1
    taps = -(-span // stride)
    first = padding // stride  # index m of the first output that is kept
    beyond = (span - 1 + extra - padding) // stride  # of the last one, beyond the last input
    surplus = stride * (beyond + 1) + padding - span - extra
    return _Axis(stride, taps, taps - 1 - first, beyond, padding - stride * first, surplus)


def _phases(filters: Tensor, axes: Sequence[_Axis], dilation: Sequence[int]) -> Tensor:
    """``[O, I, k...] -> [O s.., I, taps...]``: every s-th tap, in reverse, phase by phase."""
    for done, (axis, step) in enumerate(zip(axes, dilation, strict=True)):
        place = 2 + 2 * done  # [O, s.., I, taps.., k, ...]
        filters = _dilated(filters, place, step)
        missing = axis.taps * axis.stride - filters.shape[place]
        filters = F.pad(filters.movedim(place, -1), (0, missing)).movedim(-1, place)
        sizes = filters.shape
        apart = (*sizes[:place], axis.taps, axis.stride, *sizes[place + 1 :])
        filters = filters.reshape(apart).flip(place)
        filters = filters.movedim(place + 1, 1 + done)
    return filters.flatten(0, len(axes))


def _dilated(filters: Tensor, place: int, step: int) -> Tensor:
    if step == 1:
        return filters
    size = list(filters.shape)
    size[place] = step * (size[place] - 1) + 1
    wide = filters.new_zeros(size)
    wide.movedim(place, -1)[..., ::step] = filters.movedim(place, -1)
    return wide


def _stored(
    module: GraphModule, node: Node, filters: Tensor, axes: Sequence[_Axis]
) -> tuple[Node, Node | None]:
    """The new filters and biases ``[O s..]`` under the names of the old ones."""
    weight: Any = node.args[1]
    bias: Any = argument(node, 2)
    copies = 1
    for axis in axes:
        copies *= axis.stride
    with module.graph.inserting_before(node):
        trainable = trains(constant(module, weight))
        new = new_parameter(module, str(weight.target), filters, node, trainable=trainable)
        old = constant(module, bias)
        if old is None:
            return new, bias
        repeated = old.detach().repeat_interleave(copies)
        return new, new_parameter(module, str(bias.target), repeated, node, trainable=trains(old))


def _shuffled(node: Node, source: Node, axes: Sequence[_Axis]) -> Node:
    """``[N, O s.., m...] -> [N, O, s m...]``."""
    strides = [axis.stride for axis in axes]
    if set(strides) == {1}:
        return source
    value = source.meta["val"]
    batch, channels, *sizes = value.shape
    outputs = channels
    for stride in strides:
        outputs //= stride
    large = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    whole = value.new_empty([batch, outputs, *large])
    if len(axes) == 2 and len(set(strides)) == 1:
        return insert(node, _ATEN.pixel_shuffle.default, (source, strides[0]), whole)
    n = len(axes)
    apart = value.new_empty([batch, outputs, *strides, *sizes])
    order = [0, 1, *(axis for i in range(n) for axis in (2 + n + i, 2 + i))]
    made = insert(node, _ATEN.reshape.default, (source, [-1, *apart.shape[1:]]), apart)
    made = insert(node, _ATEN.permute.default, (made, order), apart.permute(order))
    return insert(node, _ATEN.reshape.default, (made, [-1, *whole.shape[1:]]), whole)


def _cut(node: Node, source: Node, axes: Sequence[_Axis]) -> Node:
    """Cut off what padding removes at both ends of each axis."""
    for place, axis in enumerate(axes, start=2):
        if axis.cut or axis.surplus:
            size = source.meta["val"].shape[place]
            value = source.meta["val"].narrow(place, axis.cut, size - axis.cut - axis.surplus)
            end = -axis.surplus if axis.surplus else _END
            args = (source, place, axis.cut, end)
            source = insert(node, _ATEN.slice.Tensor, args, value)
    return source


def _each(value: Any, count: int) -> list[int]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    return [int(v) for v in values] * (count if len(values) == 1 else 1)
