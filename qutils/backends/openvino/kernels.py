"""OpenVINO's integer kernels, which are oneDNN's."""

from __future__ import annotations

from dataclasses import replace

from qutils.backends.shared.kernels import COMMON, CONVOLUTIONS, USUAL
from qutils.graph.pair_sums import WITHOUT_VNNI, PairSums

TARGET = replace(
    COMMON,
    name="openvino",
    # its kernel of matrix products takes operands around zero only
    operators=(*USUAL, "conv3d", "avg_pool3d", "max_pool3d"),
    float_output=(*CONVOLUTIONS, "linear"),
    takes_in_sums=CONVOLUTIONS,
    takes_in_silu=CONVOLUTIONS,
    follows_moves=True,
    pair_sums=PairSums(WITHOUT_VNNI, kernels="oneDNN", neighbours="place"),
)
