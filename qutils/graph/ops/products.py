"""Products of two activations."""

from __future__ import annotations

from qutils.graph.ops.rounding import of_accumulator
from qutils.graph.ops.spec import OpSpec
from qutils.numerics.exact.arithmetic import matmul_accumulate
from qutils.numerics.exact.values import Quantized, Unrounded


def matmul(a: Quantized, b: Quantized) -> Unrounded:
    """``acc = (qa - za) (qb - zb)`` over the last axis of ``a``, then ``requantize``.

    Shapes: ``[..., M, K]`` and ``[..., K, N]``, whose leading axes broadcast, give ``[..., M, N]``.
    Source: ONNX ``QLinearMatMul``.
    """
    acc = matmul_accumulate(a.integers, int(a.grid.zero_point), b.integers, int(b.grid.zero_point))
    return of_accumulator(acc, a, b, axis=-1)


RECORDS = tuple(OpSpec(name, "product", kernel=matmul, rank=30) for name in ("matmul", "bmm", "mm"))
