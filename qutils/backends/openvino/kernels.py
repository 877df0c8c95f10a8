"""OpenVINO's integer kernels, which are oneDNN's."""

from __future__ import annotations

from dataclasses import replace

from qutils.backends.shared.kernels import COMMON, CONVOLUTIONS
from qutils.graph.pair_sums import WITHOUT_VNNI, PairSums

TARGET = replace(
    COMMON,
    name="openvino",
    float_output=(*CONVOLUTIONS, "linear"),
    products=(),  # its int8 kernel takes operands around zero only
    takes_in_sums=CONVOLUTIONS,
    takes_in_silu=CONVOLUTIONS,
    follows_moves=True,
    pair_sums=PairSums(WITHOUT_VNNI, kernels="oneDNN", neighbours="place"),
)
