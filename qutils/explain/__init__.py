"""Why is INT8 not faster? What executes, how long it takes, what is possible, what to change."""

from qutils.explain.advice import advice, remarks
from qutils.explain.busy import Load
from qutils.explain.ops import FloatOp, float_ops
from qutils.explain.profile import Executed, Profile, profile
from qutils.explain.report import Explanation, Variant, explain
from qutils.explain.roofline import Roofline, measure
from qutils.explain.words import lines

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
