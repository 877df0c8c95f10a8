"""Fold BatchNorm into the convolution or linear layer before it.

In eval mode BatchNorm is an affine map of each channel, so the pair is one layer:
``W' = W * gamma / sqrt(var + eps)``, ``b' = (b - mean) * gamma / sqrt(var + eps) + beta``.

Where training may move ``W'`` and ``b'``: ``W'`` trains if ``W`` does, with the factor as it is; a
frozen ``W`` keeps ``W'``, though gamma may not be frozen, since it scales frozen weights. ``b'``
trains if ``b`` or ``beta`` does, as either can take up any change of it; without both, as ``W``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qutils.graph.nodes import argument, constant, is_settled, op_name
from qutils.graph.parameters import UNTRAINED, bias_path, new_parameter, trains
from qutils.graph.transposed import TRANSPOSED, by_output

FOLDABLE = ("conv1d", "conv2d", "conv3d", "linear", *TRANSPOSED)
_RESHAPES = ("view", "reshape", "_unsafe_view", "flatten")
BATCH_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training")


def folded(
    weight: Tensor,
    bias: Tensor | None,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Weight ``[C, ...]`` and bias ``[C]`` of the merged layer, computed in float64.

    Source: Jacob et al. 2018, equation 14; Nagel et al. 2021, section 3.2.

    >>> one = torch.ones(1)
    >>> w, b = folded(torch.ones(1, 1), None, 2 * one, one, one, 3 * one, 1.0)
    >>> w.item(), b.item()
    (1.0, 0.0)
    """
    factor = torch.rsqrt(variance.double() + eps)
    if gamma is not None:
        factor = factor * gamma.double()
    shifted = (bias.double() if bias is not None else 0.0) - mean.double()
    new_bias = shifted * factor + (beta.double() if beta is not None else 0.0)
    new_weight = weight.double() * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return new_weight.float(), new_bias.float()


def fold_batch_norm(module: GraphModule) -> int:
    """Fold every BatchNorm that directly follows a foldable layer; returns how many.

    ``module`` is changed in place (it is the capture's own copy). A layer used by others as well
    keeps its unfolded weight for them.
    """
    folds = 0
    for node in list(module.graph.nodes):
        if op_name(node) in BATCH_NORMS and _fold_one(module, node):
            folds += 1
    module.graph.eliminate_dead_code()
    module.recompile()
    return folds


def statistics(node: Node) -> tuple[Node, float] | None:
    """The normalized input and eps of a BatchNorm node in eval mode."""
    if op_name(node) == "batch_norm":
        training, eps = node.args[5], node.args[7]
    else:
        training, eps = False, node.args[6]
    source = node.args[0]
    return None if training or not isinstance(source, Node) else (source, float(eps))  # type: ignore[arg-type]


def _fold_one(module: GraphModule, node: Node) -> bool:
    found = statistics(node)
    if found is None:
        return False
    source, eps = found
    layer = _layer_of_rows(source)
    if op_name(layer) not in FOLDABLE or len(layer.users) != 1:
        return False
    if op_name(layer) == "linear" and source.meta["val"].ndim != 2:
        return False  # the channels that BatchNorm sees are axis 1, those of the layer the last
    operands = (layer.args[1], argument(layer, 2), *node.args[1:5])
    if not all(is_settled(module, operand) for operand in operands):
        return False  # a bias computed in the graph, say, would be lost
    weight, bias, gamma, beta, mean, variance = (constant(module, x) for x in operands)
    if weight is None or mean is None or variance is None:
        return False
    groups = int(argument(layer, 6, 1)) if op_name(layer) in TRANSPOSED else 0
    filters = by_output(weight, groups) if groups else weight
    new_weight, new_bias = folded(filters, bias, gamma, beta, mean, variance, eps)
    if groups:
        new_weight = by_output(new_weight, groups)
    weight_path = str(layer.args[1].target)  # type: ignore[union-attr]
    bias_name = str(argument(layer, 2).target) if bias is not None else bias_path(weight_path)
    offsets = [tensor for tensor in (bias, beta) if tensor is not None]
    with module.graph.inserting_before(layer):
        weight_node = new_parameter(
            module,
            weight_path,
            new_weight,
            layer,
            trainable=trains(weight),
            untrained=untrained(module, layer.args[1], node.args[1]),
        )
        learns = any(map(trains, offsets)) if offsets else trains(weight)
        bias_node = new_parameter(module, bias_name, new_bias, layer, trainable=learns)
    layer.args = (layer.args[0], weight_node, bias_node, *layer.args[3:])
    replace_norm(module, node, source)
    return True


def _layer_of_rows(source: Node) -> Node:
    """Return the linear layer ``[N, ..., C]`` that a reshape makes rows of, or ``source``."""
    if op_name(source) not in _RESHAPES or len(source.users) != 1:
        return source
    layer, rows = source.args[0], source.meta["val"]
    if not isinstance(layer, Node) or op_name(layer) != "linear" or rows.ndim != 2:
        return source
    return layer if layer.meta["val"].shape[-1] == rows.shape[-1] else source


def untrained(module: GraphModule, *operands: Any) -> list[str]:
    """Return the parameters among the operands that would train, and those folded into them."""
    names: list[str] = []
    for operand in operands:
        if isinstance(operand, Node) and operand.op == "get_attr":
            names += operand.meta.get(UNTRAINED, ())
            names += [str(operand.target)] * trains(constant(module, operand))
    return names


def replace_norm(module: GraphModule, node: Node, by: Node) -> None:
    """Give the readers of a BatchNorm another node, and erase it."""
    result = node
    if op_name(node) != "batch_norm":  # returns a tuple: (output, mean, rstd)
        result = next(user for user in node.users if user.args[1] == 0)
    result.replace_all_uses_with(by)
    for user in [u for u in node.users if u is not by]:
        module.graph.erase_node(user)
    module.graph.erase_node(node)
