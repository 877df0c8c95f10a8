"""XNNPACK's integer kernels, as ExecuTorch uses them; the rest it computes in float."""

from __future__ import annotations

from dataclasses import replace

from qutils.backends.shared.kernels import COMMON, MOVES
from qutils.graph.pair_sums import PairSums

TARGET = replace(
    COMMON,
    name="executorch",
    operators=("conv1d", "conv2d", "linear", "add", "mul", "cat", "adaptive_avg_pool2d", *MOVES),
    float_output=(),
    symmetric_activations=True,
    pair_sums=PairSums(kernels="XNNPACK"),
)
