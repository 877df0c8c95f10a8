"""Scaled dot-product attention as the operators it consists of, for which integer kernels exist."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from qutils.errors import UnsupportedError
from qutils.graph.nodes import argument, layer_of, op_name

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

    Positions that a Boolean mask excludes get the lowest finite score, so that a row without any
    position left gets the mean of V, not NaN. The factor is applied to the product, not to the
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
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        lowest = torch.finfo(scores.dtype).min
        scores = scores + torch.where(attn_mask, 0.0, lowest)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return torch.matmul(torch.softmax(scores, -1), value)


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
