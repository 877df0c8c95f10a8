"""Warn of files whose weights can overflow where this CPU's kernels add products in 16 bits."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from qutils.graph.pair_sums import LIMIT, is_depthwise, worst_pair

_NAMED = 3
#: Name, signed 8-bit weights ``[O, C / groups, ...]``, groups.
Layer = tuple[str, NDArray[Any], int]


class SaturationWarning(UserWarning):
    """A file computes otherwise on this CPU than on one with VNNI."""


def overflowing(layers: Iterable[Layer]) -> Iterator[str]:
    """Yield the layers with a pair of neighbouring weights beyond ``LIMIT``.

    >>> import numpy as np
    >>> w = np.array([[127, 127]], np.int8)
    >>> list(overflowing([("wide", w, 1), ("narrow", w // 2, 1)]))
    ['wide']
    """
    for name, array, groups in layers:
        weight = torch.tensor(array)  # a copy: arrays of a file are read-only
        if not is_depthwise(weight, groups) and int(worst_pair(weight.int()).max()) > LIMIT:
            yield name


def warn_of_overflow(path: Path, runtime: str, layers: Iterable[Layer]) -> None:
    """Warn if a layer's weights can overflow: this CPU then computes otherwise than simulated."""
    found = list(overflowing(layers))
    if not found:
        return
    some = ", ".join(found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
    warnings.warn(
        f"{path} may saturate here: this CPU has no VNNI, {runtime} adds pairs of 8-bit products "
        f"in 16 bits, and the weights of {len(found)} layers are large enough to exceed them "
        f"({some}). Results then differ from the simulation's. Calibrate with "
        "q.Recipe(saturation_safe=True), the default for this runtime, and export again.",
        SaturationWarning,
        stacklevel=4,
    )
