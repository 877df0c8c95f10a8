"""Functions of one value, which kernels look up in tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from qutils.exact.values import Quantized, Unrounded
from qutils.graph.ops.rounding import of_value
from qutils.graph.ops.spec import OpSpec


def tabled(function: Callable[..., Tensor], x: Quantized, *rest: Any) -> Unrounded:
    """``qy = table[qx]``, of 256 entries ``round(function(sx (qx - zx)) / sy) + zy``."""
    return of_value(function(x.value(), *rest))


RECORDS = (
    OpSpec("sigmoid", "requantized", kernel=partial(tabled, torch.sigmoid), rank=60),
    OpSpec("leaky_relu", "requantized", kernel=partial(tabled, F.leaky_relu), rank=61),
    OpSpec("softmax", "requantized", rank=62),
    OpSpec("log_softmax", "requantized", rank=63),
)
