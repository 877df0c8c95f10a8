"""A comparison as made, with numbers made up."""

from __future__ import annotations

import pytest

from qutils.evaluate.analysis.departures import Departure
from qutils.evaluate.analysis.parity import Differences, LayerParity, Parity
from qutils.integer import RULES
from qutils.lab.studies.parity import Figures


def of(values: int, differ: int, largest: int = 1) -> Differences:
    return Differences(values, values - differ, largest if differ else 0, 1e6, float(differ))


def layer(name: str, cumulative: int, own: int) -> LayerParity:
    return LayerParity(name, "conv2d", of(10_000, cumulative), of(10_000, own))


def tried(unlike: int) -> Departure:
    """Every rule but one misses ``unlike`` integers; the second misses none."""
    equal = {rule: 10_000 - unlike * (place != 1) for place, rule in enumerate(RULES)}
    return Departure("stage1.conv1", "conv2d", 10_000, equal, 0, 2e-7 if unlike else None)


@pytest.fixture
def found() -> list[Figures]:
    """ResNet-8: a simulation that departs in one layer, an exact runtime, one that is closed."""
    departing = (layer("stem.0", 0, 0), layer("stage1.conv1", 3, 3), layer("stage1.conv2", 9, 0))
    equal = tuple(layer(name, 0, 0) for name in ("stem.0", "stage1.conv1", "stage1.conv2", "pool"))
    simulated = Parity("simulation", 100, 100.0, of(1000, 20, 7), departing, "simulated")
    exact = Parity("onnxruntime", 100, 100.0, of(1000, 0), equal)
    return [
        Figures("resnet8", simulated, departures=(tried(3), tried(0))),
        Figures("resnet8", exact, (("QGemm", 1),), (tried(0),)),
        Figures("resnet8", Parity("inductor", 100, 99.0, of(1000, 300, 90))),
    ]
