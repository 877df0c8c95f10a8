"""Scaled dot-product attention as the operators it consists of, for which integer kernels exist."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from qutils.errors import UnsupportedError
from qutils.graph.nodes import argument, constant, layer_of, op_name

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return ``softmax(scale Q K^T + mask) V`` by two matrix products and a softmax.

    Positions that a Boolean mask excludes get the lowest finite score and then no weight, so that a
    row without any position left gives 0, not NaN. A mask that is added is cut off at that score:
    a row of ``-inf`` gives the mean of V. The factor is applied to the product, not to the
    operands: integer kernels read Q and K as they are.

    Shapes: query ``[..., L, E]``, key ``[..., S, E]``, value ``[..., S, V]`` -> ``[..., L, V]``;
    with ``enable_gqa`` the heads, on axis -3, of key and value divide those of query.
    Source: Vaswani et al. 2017, section 3.2.1; ``torch.nn.functional``.
    """
    if enable_gqa:
        shared = query.shape[-3] // key.shape[-3]
        heads = torch.arange(query.shape[-3]) // shared
        key, value = key.index_select(-3, heads), value.index_select(-3, heads)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = torch.matmul(query, key.transpose(-2, -1)) * factor
    if is_causal:
        rows, columns = torch.arange(query.shape[-2]), torch.arange(key.shape[-2])
        attn_mask = columns <= rows.unsqueeze(-1)
    if attn_mask is None:
        return torch.matmul(torch.softmax(scores, -1), value)
    lowest = torch.finfo(scores.dtype).min
    if attn_mask.dtype != torch.bool:
        return torch.matmul(torch.softmax(scores + attn_mask.clamp(min=lowest), -1), value)
    weights = torch.softmax(scores + torch.where(attn_mask, 0.0, lowest), -1)
    if not is_causal:
        weights = weights * attn_mask.to(weights.dtype)
    return torch.matmul(weights, value)


def drop_idle_masks(module: GraphModule) -> None:
    """Drop products of softmax weights with a stored mask that leaves each row a position.

    The weights of excluded positions are 0 already.
    """
    for node in list(module.graph.nodes):
        weights = node.args[0] if op_name(node) == "mul" else None
        mask = constant(module, argument(node, 1)) if weights is not None else None
        if mask is None or not isinstance(weights, Node) or op_name(weights) != "softmax":
            continue
        scores: Any = weights.args[0]
        added = constant(module, argument(scores, 1)) if op_name(scores) == "add" else None
        if added is None or added.shape != mask.shape or not mask.any(-1).all():
            continue
        lowest = torch.finfo(added.dtype).min
        if torch.equal(mask, (added != lowest).to(mask.dtype)):
            node.replace_all_uses_with(weights)
    module.graph.eliminate_dead_code()


#: Decompositions for ``ExportedProgram.run_decompositions``.
DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {_ATTENTION: scaled_dot_product_attention}


def check_attention(program: ExportedProgram) -> None:
    """Raise UnsupportedError for attention that drops out positions at random in eval mode."""
    for node in program.graph.nodes:
        if op_name(node) == "scaled_dot_product_attention" and argument(node, 4, 0.0):
            raise UnsupportedError(
                f"Attention in module {layer_of(node)!r} stays random in eval mode "
                f"(dropout_p={argument(node, 4)}). Write dropout_p=p if self.training else 0.0."
            )
