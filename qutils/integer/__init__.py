"""Exact integer arithmetic: how kernels compute, and the reference that runs a whole network so."""

from qutils.integer.kernels import KERNELS
from qutils.integer.reference import IntegerReference
from qutils.integer.rules import RULES
from qutils.integer.saturating import SATURATING, SATURATING_BY_PLACE, kernels_on
from qutils.numerics.exact.arithmetic import (
    INT32,
    FixedPoint,
    bias_to_int32,
    conv_accumulate,
    fixed_point_multiplier,
    linear_accumulate,
    multiplier,
    requantize,
    requantize_fixed_point,
)
from qutils.numerics.exact.values import Quantized

__all__ = [
    "INT32",
    "KERNELS",
    "RULES",
    "SATURATING",
    "SATURATING_BY_PLACE",
    "FixedPoint",
    "IntegerReference",
    "Quantized",
    "bias_to_int32",
    "conv_accumulate",
    "fixed_point_multiplier",
    "kernels_on",
    "linear_accumulate",
    "multiplier",
    "requantize",
    "requantize_fixed_point",
]
