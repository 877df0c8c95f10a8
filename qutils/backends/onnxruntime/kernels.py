"""ONNX Runtime's integer kernels."""

from __future__ import annotations

from dataclasses import replace

from qutils.backends.shared.kernels import COMMON
from qutils.graph.pair_sums import WITHOUT_VNNI, PairSums

TARGET = replace(
    COMMON,
    name="onnxruntime",
    # 7 bits leave the eighth of an int8 unused: two products then fit into 16 bits (``saturating``)
    weight_bits=(7, 8),
    pair_sums=PairSums(
        WITHOUT_VNNI, "session.x64quantprecision=1, which qutils.runtimes sets", "MLAS"
    ),
)
