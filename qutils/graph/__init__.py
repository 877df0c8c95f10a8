"""Capture a float model as a graph, fold its BatchNorm, plan where quantizers go."""

from qutils.graph.bias import with_own_biases
from qutils.graph.capture import Captured, capture
from qutils.graph.coverage import Coverage, FloatOperator, coverage
from qutils.graph.identity import Identity
from qutils.graph.placement import place
from qutils.graph.sites import Bias, FloatReason, Placement, Site
from qutils.graph.targets import TARGETS, Target, target

__all__ = [
    "TARGETS",
    "Bias",
    "Captured",
    "Coverage",
    "FloatOperator",
    "FloatReason",
    "Identity",
    "Placement",
    "Site",
    "Target",
    "capture",
    "coverage",
    "place",
    "target",
    "with_own_biases",
]
