"""Inductor's integer kernels, which are oneDNN's."""

from __future__ import annotations

from dataclasses import replace

from qutils.backends.shared.kernels import COMMON
from qutils.graph.pair_sums import WITHOUT_VNNI, PairSums

TARGET = replace(
    COMMON,
    name="inductor",
    float_output=("linear",),
    products=(),
    pair_sums=PairSums(WITHOUT_VNNI, kernels="oneDNN", neighbours="place"),
)
