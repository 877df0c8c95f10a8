"""Fold factors and offsets of channels into the layer before them.

``c (W x + b) + d`` is one layer, ``W' = c W`` and ``b' = c b + d``: layer scale, learnable affine
maps after a convolution, normalization of outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from qutils.graph.fold import FOLDABLE, untrained
from qutils.graph.nodes import argument, constant, is_settled, op_name
from qutils.graph.parameters import bias_path, new_parameter, remove, trains
from qutils.graph.transposed import TRANSPOSED, by_output

_MAPS = ("add", "sub", "rsub", "mul", "div")


def fold_affine_maps(module: GraphModule) -> int:
    """Fold every sum and product with constants of channels that follows a layer; return how many.

    ``module`` is changed in place (it is the capture's own copy).
    """
    folds = 0
    for node in list(module.graph.nodes):
        if op_name(node) in _MAPS and set(node.kwargs) <= {"alpha"} and _fold_one(module, node):
            folds += 1
    module.graph.eliminate_dead_code()
    return folds


def _fold_one(module: GraphModule, node: Node) -> bool:
    layer, operand = node.args[:2]
    if op_name(node) in ("add", "mul") and not _is_layer(module, layer):
        layer, operand = operand, layer
    if not isinstance(layer, Node) or not _is_layer(module, layer):
        return False
    value = _of_channels(module, layer, operand)
    if value is None or node.kwargs.get("alpha", 1) != 1 or len(node.args) > 2:
        return False
    one, zero = torch.ones_like(value), torch.zeros_like(value)
    factor, offset = {
        "add": (one, value),
        "sub": (one, -value),
        "rsub": (-one, value),
        "mul": (value, zero),
        "div": (1 / value, zero),
    }[op_name(node)]
    if not (factor.isfinite().all() and offset.isfinite().all()):
        return False
    _apply(module, layer, operand, factor, offset)
    node.replace_all_uses_with(layer)
    module.graph.erase_node(node)
    if isinstance(operand, Node) and not operand.users:
        path = str(operand.target)
        module.graph.erase_node(operand)
        if all(n.op != "get_attr" or n.target != path for n in module.graph.nodes):
            remove(module, path)
    return True


def _is_layer(module: GraphModule, node: Any) -> bool:
    """Whether a node is a layer with stored weights that nothing but one operator reads."""
    if not isinstance(node, Node) or op_name(node) not in FOLDABLE or len(node.users) != 1:
        return False
    weight = constant(module, node.args[1])
    if weight is None or not is_settled(module, argument(node, 2)):
        return False
    if op_name(node) == "linear":
        return weight.ndim == 2
    return weight.ndim == len(node.meta["val"].shape)  # otherwise without a batch: axis 1 is space


def _of_channels(module: GraphModule, layer: Node, operand: Any) -> Tensor | None:
    """A constant as float64 ``[O]``, one value a channel of the layer; None for other operands."""
    rank = layer.meta["val"].ndim
    axis = rank - 1 if op_name(layer) == "linear" else 1
    channels = int(layer.meta["val"].shape[axis])
    if isinstance(operand, int | float):
        return torch.full((channels,), float(operand), dtype=torch.float64)
    value = constant(module, operand)
    if value is None or not value.is_floating_point() or value.ndim > rank:
        return None
    shape = [1] * (rank - value.ndim) + list(value.shape)
    if any(size != 1 for place, size in enumerate(shape) if place != axis):
        return None
    if value.numel() not in (1, channels):
        return None
    return value.detach().double().reshape(-1).expand(channels)


def _apply(module: GraphModule, layer: Node, operand: Any, factor: Tensor, offset: Tensor) -> None:
    weight, bias = constant(module, layer.args[1]), constant(module, argument(layer, 2))
    assert weight is not None
    groups = int(argument(layer, 6, 1)) if op_name(layer) in TRANSPOSED else 0
    filters = by_output(weight, groups) if groups else weight
    scaled = filters.double() * factor.reshape(-1, *[1] * (filters.ndim - 1))
    old = torch.zeros(len(factor), dtype=torch.float64) if bias is None else bias.double()
    path = str(layer.args[1].target)  # type: ignore[union-attr]
    stem = bias_path(path) if bias is None else str(argument(layer, 2).target)
    added = constant(module, operand) if offset.any() else None
    offsets = [t for t in (bias, added) if isinstance(t, nn.Parameter)]
    learns = any(map(trains, offsets)) if offsets else trains(weight)
    mixed = untrained(module, layer.args[1], operand)
    with module.graph.inserting_before(layer):
        new = scaled.float()
        new = by_output(new, groups) if groups else new
        args: list[Any] = [layer.args[0]]
        args.append(
            new_parameter(module, path, new, layer, trainable=trains(weight), untrained=mixed)
        )
        shifted = (old * factor + offset).float()
        if bias is not None or offset.any():
            args.append(new_parameter(module, stem, shifted, layer, trainable=learns))
        else:
            args.append(None)
    layer.args = (*args, *layer.args[3:])
