"""Operators whose settings ONNX keeps in tensors get them as numbers, as PyTorch has them.

``torch.export`` follows numbers, not the contents of tensors. A matrix product with a stored
matrix, and the sum behind it with a stored vector, become a linear layer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from qutils.graph.nodes import attribute
from qutils.onnx_import.package import onnx2torch


class Operator(nn.Module):
    """A function of one tensor, ``function(x, *settings)``, as a module with a name."""

    def __init__(self, function: Callable[..., Any], *settings: Any) -> None:
        super().__init__()
        self.function, self.settings = function, settings

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.settings)


def settle(module: GraphModule) -> GraphModule:
    """``module`` with numbers for settings, under the dotted names of its nodes, in place."""
    makers = _makers()
    for node in list(module.graph.nodes):
        if node.op != "call_module":
            continue
        _split_padding(module, node)
        old = module.get_submodule(str(node.target))
        values = [_stored(module, argument) for argument in node.args]
        kwargs = {name: _stored(module, argument) for name, argument in node.kwargs.items()}
        make = makers.get(type(old).__name__)
        new = None
        if make is not None and None not in (*values[1:], *kwargs.values()):
            new = make(old, *values[1:], **kwargs)
        if new is not None:
            node.args, node.kwargs = node.args[:1], {}
        _move(module, node, new or old)
        _absorb_bias(module, node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _stored(module: GraphModule, argument: Any) -> Tensor | None:
    if isinstance(argument, Node) and argument.op == "get_attr":
        value: Tensor = attribute(module, str(argument.target))
        return value
    return None


def _split_padding(module: GraphModule, node: Node) -> None:
    """A layer with unequal padding came as a pair, which becomes two nodes: ``a_pad`` and ``a``."""
    pair, path = module.get_submodule(str(node.target)), str(node.target)
    if not isinstance(pair, nn.Sequential):
        return
    padding, layer = pair
    module.add_submodule(f"{path}_pad", padding)
    with module.graph.inserting_before(node):
        padded = module.graph.call_module(f"{path}_pad", node.args)
    node.args = (padded,)
    _move(module, padded, padding)
    _move(module, node, layer)


def _move(module: GraphModule, node: Node, new: nn.Module) -> None:
    """Put ``new`` where the node's dotted name says (``onnx2torch`` writes ``/`` for ``.``)."""
    path = str(node.target).replace("/", ".")
    module.delete_submodule(str(node.target))
    module.add_submodule(path, new)
    node.target = path


def _absorb_bias(module: GraphModule, node: Node) -> None:
    """``linear(x) + b``, b a stored vector: the bias of the layer."""
    added = module.get_submodule(str(node.target))
    if getattr(added, "math_op_function", None) not in (torch.add, operator.add):
        return
    operands = [n for n in node.args if isinstance(n, Node)]
    layers = [n for n in operands if n.op == "call_module" and len(n.users) == 1]
    vector = next((v for n in operands if (v := _stored(module, n)) is not None), None)
    if len(operands) != 2 or len(layers) != 1 or vector is None:
        return
    layer = module.get_submodule(str(layers[0].target))
    if not isinstance(layer, nn.Linear) or "bias" in dict(layer.named_parameters()):
        return
    last = vector.shape[-1] if vector.ndim else 1
    if not vector.numel() == last == layer.out_features:
        return
    layer.bias = nn.Parameter(vector.detach().clone().reshape(-1))
    node.replace_all_uses_with(layers[0])
    module.graph.erase_node(node)


def _makers() -> dict[str, Callable[..., nn.Module | None]]:
    """What replaces a module of ``onnx2torch``, from it and the tensors it would be given."""
    onnx2torch()
    return {
        "OnnxExpand": lambda old, sizes: Operator(_expand, sizes.tolist()),
        "OnnxMatMul": _linear,
        "OnnxMinMax": _clip,
        "OnnxPadDynamic": _pad,
        "OnnxReduceStaticAxes": _maximum,
        "OnnxReshape": lambda old, sizes: Operator(_reshape, sizes.tolist()),
        "OnnxResize": _resize,
        "OnnxSlice": _slice,
        "OnnxSplit13": lambda old, sizes=None: Operator(_split, old.axis, old.num_splits, sizes),
        "OnnxSqueezeDynamicAxes": lambda old, axes: Operator(torch.squeeze, tuple(axes.tolist())),
        "OnnxTile": lambda old, repeats: Operator(_tile, repeats.tolist()),
    }


def _reshape(x: Tensor, sizes: Sequence[int]) -> Tensor:
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(sizes)])


def _expand(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Sizes of 1 keep what x has, as in ONNX."""
    own = (1,) * (len(sizes) - x.ndim) + tuple(x.shape)
    return x.expand([have if size == 1 else size for have, size in zip(own, sizes, strict=True)])


def _tile(x: Tensor, repeats: Sequence[int]) -> Tensor:
    return x.repeat(*repeats)


def _split(x: Tensor, axis: int, parts: int, sizes: Tensor | None) -> tuple[Tensor, ...]:
    size = x.shape[axis] // parts if sizes is None else sizes.tolist()
    return torch.split(x, size, dim=axis)


def _linear(old: nn.Module, weight: Tensor | None = None) -> nn.Module | None:
    """``x @ W``, W ``[in, out]`` stored: a linear layer; any other product stays."""
    if weight is None or weight.ndim != 2:
        return None
    layer = nn.Linear(weight.shape[0], weight.shape[1], bias=False)
    layer.weight = nn.Parameter(weight.detach().T.contiguous())
    return layer


def _clip(old: Any, bound: Tensor | None = None) -> nn.Module | None:
    """``max(x, 0)``, ``min(x, 6)``: a bound is a plain number, as in clamp."""
    if bound is None or bound.numel() != 1:
        return None
    below = old._operator is torch.amax
    return Operator(torch.clamp, *((float(bound), None) if below else (None, float(bound))))


def _maximum(old: Any) -> nn.Module | None:
    """The maximum over ``[2, 3]`` is a pooling, which kernels know."""
    if old.operation_type != "ReduceMax" or old.axes not in ([2, 3], [-2, -1]):
        return None
    return Operator(_global_max_pool, old.keepdims)


def _global_max_pool(x: Tensor, keepdims: bool) -> Tensor:
    y = F.adaptive_max_pool2d(x, 1)
    return y if keepdims else y.flatten(1)


def _pad(old: Any, pads: Tensor, constant_value: Tensor | None = None) -> nn.Module:
    """ONNX lists what begins, then what ends; PyTorch pairs, from the last axis on."""
    begin, end = pads.reshape(2, -1).flip(1).tolist()
    pairs = [size for both in zip(begin, end, strict=True) for size in both]
    while len(pairs) > 2 and pairs[-2:] == [0, 0]:
        del pairs[-2:]
    value = float(constant_value) if constant_value is not None else 0.0
    if old.mode != "constant":
        return Operator(F.pad, pairs, old.mode)
    return Operator(F.pad, pairs, "constant", value)


def _resize(
    old: Any,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> nn.Module | None:
    mode = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}.get(old.onnx_mode)
    if mode is None:
        return None
    align = None if mode == "nearest" else old.align_corners
    if scales is not None and scales.numel() > 2:
        factors = [float(scale) for scale in scales[2:]]
        return Operator(F.interpolate, None, factors, mode, align)
    if sizes is not None and sizes.numel() > 2:
        return Operator(F.interpolate, [int(size) for size in sizes[2:]], None, mode, align)
    return None


def _slice(
    old: nn.Module,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> nn.Module | None:
    places = axes.tolist() if axes is not None else list(range(len(starts)))
    strides = steps.tolist() if steps is not None else [1] * len(places)
    if min(strides) < 1:
        return None
    return Operator(_cut, list(zip(places, starts.tolist(), ends.tolist(), strides, strict=True)))


def _cut(x: Tensor, cuts: Sequence[tuple[int, int, int, int]]) -> Tensor:
    for axis, start, end, step in cuts:
        index: list[slice] = [slice(None)] * x.ndim
        index[axis] = slice(start, None if end >= 2**31 - 1 else end, step)
        x = x[tuple(index)]
    return x
