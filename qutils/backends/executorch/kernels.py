"""XNNPACK's integer kernels, as ExecuTorch uses them; the rest it computes in float."""

from __future__ import annotations

from dataclasses import replace

from qutils.backends.shared.kernels import COMMON, FLAT_MOVES
from qutils.graph.pair_sums import PairSums

TARGET = replace(
    COMMON,
    name="executorch",
    weighted=("conv1d", "conv2d", "linear"),
    quantized=("add", "mul", "cat", "adaptive_avg_pool2d"),
    pass_through=FLAT_MOVES,
    float_output=(),
    products=(),
    symmetric_activations=True,
    pair_sums=PairSums(kernels="XNNPACK"),
)
