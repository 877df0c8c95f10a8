"""The coverage report: which networks of public libraries are quantized, and how well."""

from qutils.lab.studies.coverage.plan import ARCHITECTURES, INSTALL, PROFILES, Profile, choose
from qutils.lab.studies.coverage.results import checks, reaches, rows
from qutils.lab.studies.coverage.runs import measure

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
