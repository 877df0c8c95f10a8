"""Inductor's integer kernels, which are oneDNN's."""

from __future__ import annotations

from dataclasses import replace

from qutils.backends.shared.kernels import COMMON, USUAL
from qutils.graph.pair_sums import WITHOUT_VNNI, PairSums

TARGET = replace(
    COMMON,
    name="inductor",
    operators=(*USUAL, "conv3d", "avg_pool3d", "max_pool3d"),
    float_output=("linear",),
    pair_sums=PairSums(WITHOUT_VNNI, kernels="oneDNN", neighbours="place"),
)
