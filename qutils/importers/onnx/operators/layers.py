"""Layers with weights: convolutions, matrix products, embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qutils.importers.onnx.call import Call, Converter, Function, Made, made
from qutils.importers.onnx.operators.windows import Window, pairs

_CONV: dict[int, tuple[type[nn.Module], Callable[..., Any]]] = {
    1: (nn.Conv1d, F.conv1d),
    2: (nn.Conv2d, F.conv2d),
    3: (nn.Conv3d, F.conv3d),
}
_TRANSPOSED: dict[int, tuple[type[nn.Module], Callable[..., Any]]] = {
    1: (nn.ConvTranspose1d, F.conv_transpose1d),
    2: (nn.ConvTranspose2d, F.conv_transpose2d),
    3: (nn.ConvTranspose3d, F.conv_transpose3d),
}


def _conv(call: Call) -> Made:
    weight = call.operand(1)
    window = Window.of(call, call.settled(weight.shape[2:]))
    if window.axes not in _CONV:
        raise call.refuse(f"a convolution over {window.axes} axes has no counterpart")
    layer, function = _CONV[window.axes]
    settings = {
        "stride": window.stride,
        "padding": window.begin if window.is_even else 0,
        "dilation": window.dilation,
        "groups": call.attribute("group", 1),
    }
    before = None if window.is_even else window.padding()
    return _weighted(call, layer, function, settings, before, None)


def _conv_transpose(call: Call) -> Made:
    """Padding crops the result; where it is not even, it is cropped afterwards."""
    weight = call.operand(1)
    kernel = call.settled(weight.shape[2:])
    if len(kernel) not in _TRANSPOSED:
        raise call.refuse(f"a convolution over {len(kernel)} axes has no counterpart")
    layer, function = _TRANSPOSED[len(kernel)]
    ones, zeros = [1] * len(kernel), [0] * len(kernel)
    stride, dilation = call.attribute("strides", ones), call.attribute("dilations", ones)
    begin, end = _crops(call, kernel, stride, dilation)
    extra = call.attribute("output_padding", zeros)
    even = begin == end and min(begin) >= 0
    settings = {
        "stride": tuple(stride),
        "padding": tuple(begin) if even else 0,
        "output_padding": tuple(extra),
        "groups": call.attribute("group", 1),
        "dilation": tuple(dilation),
    }
    after = None
    if not even:
        after = Function(F.pad, {"pad": pairs([-b for b in begin], [-e for e in end])})
    return _weighted(call, layer, function, settings, None, after)


def _crops(
    call: Call, kernel: list[int], stride: list[int], dilation: list[int]
) -> tuple[list[int], list[int]]:
    """Return what is cut from both ends of each axis."""
    zeros = [0] * len(kernel)
    pads = call.attribute("pads", [*zeros, *zeros])
    auto = call.attribute("auto_pad", "NOTSET")
    wanted = call.attribute("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [side * s for side, s in zip(call.sides(), stride, strict=True)]
    if wanted is None:
        return (zeros, zeros) if auto == "VALID" else (pads[: len(kernel)], pads[len(kernel) :])
    extra = call.attribute("output_padding", zeros)
    total = [
        s * (side - 1) + e + (k - 1) * d + 1 - out
        for side, k, s, d, e, out in zip(
            call.sides(), kernel, stride, dilation, extra, wanted[-len(kernel) :], strict=True
        )
    ]
    if min(total) < 0 and call.attribute("output_shape") is not None:
        raise call.refuse(f"output_shape={wanted} is larger than what it computes")
    total = [max(t, 0) for t in total]  # as ONNX Runtime has it
    half = [t // 2 for t in total]
    rest = [t - h for t, h in zip(total, half, strict=True)]
    return (half, rest) if auto == "SAME_UPPER" else (rest, half)


def _weighted(
    call: Call,
    layer: type[nn.Module],
    function: Callable[..., Any],
    settings: dict[str, Any],
    before: nn.Module | None,
    after: nn.Module | None,
) -> Made:
    """Return a layer where weight and bias are stored, a function of them otherwise."""
    weight, bias = call.operand(1), call.operand(2) if call.has(2) else None
    if call.x.is_static or not weight.is_constant or (bias is not None and not bias.is_constant):
        return Made(Function(function, settings), call.given(), before, after)
    transposed = layer in {kind for kind, _ in _TRANSPOSED.values()}
    rows, columns = weight.probes[0].shape[:2]
    groups = settings["groups"]
    sizes = (rows, columns * groups) if transposed else (columns * groups, rows)
    made_layer: Any = layer(*sizes, 1, **settings, bias=bias is not None)
    made_layer.kernel_size = tuple(weight.probes[0].shape[2:])
    _give(made_layer, weight.probes[0], None if bias is None else bias.probes[0].reshape(-1))
    return Made(made_layer, (call.x,), before, after)


def _give(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """Return the layer ``x @ weight.T + bias``, weight ``[out, in]``."""
    layer = nn.Linear(1, 1, bias=bias is not None)
    layer.out_features, layer.in_features = weight.shape
    _give(layer, weight.contiguous(), bias)
    return layer


def _matmul(call: Call) -> Made:
    """A product with a stored matrix is a linear layer."""
    weight = call.operand(1)
    if weight.is_constant and weight.ndim == 2 and not call.x.is_static:
        return Made(linear(weight.probes[0].T), (call.x,))
    return made(torch.matmul, call.x, weight)


def _gemm(call: Call) -> Made:
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    flips = {"flip_a": bool(call.attribute("transA", 0)), "flip_b": bool(call.attribute("transB"))}
    weight = call.operand(1)
    bias = call.operand(2) if call.has(2) else None
    rows = weight.shape[0 if flips["flip_b"] else 1]
    fits = bias is None or (
        bias.is_constant and bias.probes[0].numel() == (bias.shape or (1,))[-1] in (1, rows)
    )
    if weight.is_constant and fits and not flips["flip_a"] and not call.x.is_static:
        matrix = weight.probes[0] if flips["flip_b"] else weight.probes[0].T
        vector = None
        if bias is not None:
            vector = (bias.probes[0].reshape(-1) * beta).expand(matrix.shape[0])
        return Made(linear(matrix * alpha, vector), (call.x,))
    return made(_product, *call.given(), alpha=alpha, beta=beta, **flips)


def _product(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float,
    beta: float,
    flip_a: bool,
    flip_b: bool,
) -> Tensor:
    y = (a.T if flip_a else a) @ (b.T if flip_b else b)
    y = y if alpha == 1 else y * alpha
    return y if c is None else y + (c if beta == 1 else c * beta)


def _einsum(call: Call) -> Made:
    return made(_einsum_of, *call.given(), equation=call.attribute("equation"))


def _einsum_of(*operands: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation.replace(" ", ""), *operands)


def embedding(table: Tensor) -> nn.Embedding:
    """Return the layer that looks rows up in a table ``[rows, width]``."""
    layer = nn.Embedding(1, 1)
    layer.num_embeddings, layer.embedding_dim = table.shape
    _give(layer, table, None)
    return layer


LAYERS: dict[str, Converter] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
