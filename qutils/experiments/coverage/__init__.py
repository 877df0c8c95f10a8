"""The coverage report: which networks of public libraries are quantized, and how well."""

from qutils.experiments.coverage.plan import ARCHITECTURES, INSTALL, PROFILES, Profile, choose
from qutils.experiments.coverage.results import checks, reaches, rows
from qutils.experiments.coverage.runs import measure

__all__ = [
    "ARCHITECTURES",
    "INSTALL",
    "PROFILES",
    "Profile",
    "checks",
    "choose",
    "measure",
    "reaches",
    "rows",
]
