"""What explorers look at by default: the shipped networks, observed once per process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor

from qutils import zoo
from qutils.errors import unknown_name
from qutils.graph import capture
from qutils.graph.capture import parameters_of
from qutils.numerics.observers.rows import Rows, rows_of
from qutils.quantize.calibration import Observation, observe

#: Calibration images of the default explorers.
PICTURES = 256


@lru_cache(maxsize=4)
def observation(model: str = "resnet8", pictures: int = PICTURES) -> Observation:
    """The statistics of a shipped network on the first ``pictures`` of its calibration split.

    Raises:
        InvalidInputError: an unknown model, or more pictures than the split holds.
    """
    split = zoo.dataset(zoo.entry(model).dataset).calibration
    return observe(zoo.load(model), split.take(pictures))


@lru_cache(maxsize=4)
def folded_weights(model: str) -> Mapping[str, Tensor]:
    """The parameters of a shipped network with BatchNorm folded, by name; no picture is run.

    Raises:
        InvalidInputError: an unknown model.
    """
    captured = capture(zoo.load(model), torch.zeros(1, *zoo.entry(model).input_shape))
    found = parameters_of(captured.module).items()
    return MappingProxyType({name: tensor.detach() for name, tensor in found})


def rows_at(kept: Observation, site: str) -> Rows:
    """One tensor of an observed network as one row: a weight's values, an activation's histogram.

    Raises:
        InvalidInputError: no site of that name; the closest is suggested.
    """
    sites = {found.name: found for found in kept.placement.sites.values()}
    if site not in sites:
        raise unknown_name("site", site, sites)
    if sites[site].role == "weight":
        return rows_of(kept.weight(sites[site]), name=site)
    return kept.statistics[site].rows()
