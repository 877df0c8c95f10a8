"""BatchNorm that no layer before it absorbs becomes a layer with integer kernels.

In eval mode it is an affine map of each channel, ``a * x + c``: a depthwise 1x1 convolution of
feature maps, or, on the rows ``[N, C]`` of a multilayer perceptron, part of the next linear layer:
``W' = W * a``, ``b' = b + W c``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qutils.graph.fold import BATCH_NORMS, folded, replace_norm, statistics, untrained
from qutils.graph.nodes import argument, constant, is_settled, op_name
from qutils.graph.parameters import bias_path, new_parameter, trains

#: Convolutions by the number of axes of their input ``[N, C, ...]``.
_CONVOLUTIONS = {
    3: torch.ops.aten.conv1d.default,
    4: torch.ops.aten.conv2d.default,
    5: torch.ops.aten.conv3d.default,
}


def replace_batch_norm(module: GraphModule) -> None:
    """Turn the BatchNorms that folding left into layers, in place; the numbers stay."""
    for node in list(module.graph.nodes):
        found = statistics(node) if op_name(node) in BATCH_NORMS else None
        operands = [argument(node, i) for i in range(1, 5)]
        if found is None or not all(is_settled(module, operand) for operand in operands):
            continue  # computed in the graph
        source, eps = found
        gamma, beta, mean, variance = (constant(module, operand) for operand in operands)
        if mean is None or variance is None:
            continue
        # What BatchNorm gives to an identity layer: factor and offset, [C].
        factor, offset = folded(torch.ones_like(mean), None, gamma, beta, mean, variance, eps)
        if source.meta["val"].ndim in _CONVOLUTIONS:
            _into_convolution(module, node, source, factor, offset)
        elif source.meta["val"].ndim == 2:
            _into_next_linear(module, node, source, factor, offset)


def _into_convolution(
    module: GraphModule, node: Node, source: Node, factor: Tensor, offset: Tensor
) -> None:
    axes = source.meta["val"].ndim
    path = str(node.args[3].target).rpartition(".")[0]  # type: ignore[union-attr]
    stem = f"{path}." if path else ""
    with module.graph.inserting_before(node):
        weight = factor.reshape(-1, *[1] * (axes - 1))  # [C, 1, 1, 1]
        gamma, beta = (trains(constant(module, argument(node, i))) for i in (1, 2))
        weight_node = new_parameter(module, f"{stem}weight", weight, node, trainable=gamma)
        bias_node = new_parameter(module, f"{stem}bias", offset, node, trainable=beta)
        ones, zeros = [1] * (axes - 2), [0] * (axes - 2)
        args = (source, weight_node, bias_node, ones, zeros, ones, len(factor))
        layer = module.graph.call_function(_CONVOLUTIONS[axes], args)
    layer.meta = {**node.meta, "val": source.meta["val"]}
    replace_norm(module, node, layer)


def _into_next_linear(
    module: GraphModule, node: Node, source: Node, factor: Tensor, offset: Tensor
) -> None:
    """Only where the linear layer is all that reads the BatchNorm, and its bias is no result."""
    result = node if op_name(node) == "batch_norm" else next(iter(node.users))
    reader = next(iter(result.users), None)
    if reader is None or len(result.users) != 1 or op_name(reader) != "linear":
        return
    weight = constant(module, reader.args[1])
    if weight is None or not is_settled(module, argument(reader, 2)):
        return
    bias = constant(module, argument(reader, 2))
    new_bias = weight.double() @ offset.double() + (bias.double() if bias is not None else 0.0)
    path = str(reader.args[1].target)  # type: ignore[union-attr]
    with module.graph.inserting_before(reader):
        name = str(argument(reader, 2).target) if bias is not None else bias_path(path)
        beta = constant(module, argument(node, 2))
        weight_node = new_parameter(
            module,
            path,
            weight * factor,
            reader,
            trainable=trains(weight),
            untrained=untrained(module, reader.args[1], node.args[1]),
        )
        bias_node = new_parameter(
            module,
            name,
            new_bias.float(),
            reader,
            trainable=trains(bias if bias is not None else beta if beta is not None else weight),
            untrained=untrained(module, argument(reader, 2), node.args[2]),
        )
    reader.args = (reader.args[0], weight_node, bias_node)
    replace_norm(module, node, source)
