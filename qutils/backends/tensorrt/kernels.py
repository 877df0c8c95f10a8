"""TensorRT's integer kernels."""

from __future__ import annotations

from dataclasses import replace

from qutils.backends.shared.kernels import COMMON, CONVOLUTIONS, USUAL
from qutils.graph.pair_sums import PairSums

TARGET = replace(
    COMMON,
    name="tensorrt",
    operators=(*USUAL, "conv3d", "max_pool3d"),
    float_output=(*CONVOLUTIONS, "linear"),
    takes_in_sums=CONVOLUTIONS,
    symmetric_activations=True,
    only_symmetric=True,
    bias="float",
    pair_sums=PairSums(kernels="GPU"),
)
