"""LiteRT's integer kernels: XNNPACK's and its own."""

from __future__ import annotations

from dataclasses import replace

from qutils.backends.shared.kernels import COMMON, PRODUCTS, USUAL
from qutils.graph.pair_sums import PairSums

TARGET = replace(
    COMMON,
    name="litert",
    operators=(
        *(*USUAL, *PRODUCTS, "softmax", "log_softmax", "sub", "maximum", "minimum"),
        *("tanh", "gelu", "elu", "hardswish", "hardsigmoid", "prelu", "abs"),
        *("mean", "sum", "amax", "amin"),
    ),
    quantize_output=True,
    float_output=(),
    float_endings=(),
    fixed_ranges={  # scales 1/256, 16/256 and 1/128, say the kernels
        "sigmoid": (0, 255 / 256),
        "tanh": (-1, 127 / 128),
        "hardsigmoid": (0, 1),  # the ends of the integers bound it
        "softmax": (0, 255 / 256),
        "log_softmax": (-255 / 16, 0),
    },
    pair_sums=PairSums(kernels="XNNPACK"),
)
