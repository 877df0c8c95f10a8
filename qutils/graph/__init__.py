"""Capture a float model as a graph, fold its BatchNorm, plan where quantizers go."""

from qutils.graph.bias import with_own_biases
from qutils.graph.capture import Captured, capture
from qutils.graph.identity import Identity
from qutils.graph.placement import Bias, Placement, Site, place
from qutils.graph.targets import TARGETS, Target, target

__all__ = [
    "TARGETS",
    "Bias",
    "Captured",
    "Identity",
    "Placement",
    "Site",
    "Target",
    "capture",
    "place",
    "target",
    "with_own_biases",
]
