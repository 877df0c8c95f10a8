"""Why is INT8 not faster? What executes, how long it takes, what is possible, what to change."""

from qutils.evaluate.explain.advice import advice, remarks
from qutils.evaluate.explain.busy import Load
from qutils.evaluate.explain.ops import FloatOp, float_ops
from qutils.evaluate.explain.profile import Executed, Profile, profile
from qutils.evaluate.explain.report import Explanation, Variant, explain
from qutils.evaluate.explain.roofline import Roofline, measure
from qutils.evaluate.explain.words import lines

__all__ = [
    "Executed",
    "Explanation",
    "FloatOp",
    "Load",
    "Profile",
    "Roofline",
    "Variant",
    "advice",
    "explain",
    "float_ops",
    "lines",
    "measure",
    "profile",
    "remarks",
]
