"""The detection report: YOLO networks in INT8, by their own exporter and by ours.

Ultralytics is an optional extra: ``prepare`` says how to install it before anything is made.
"""

from qutils.lab.studies.detection.material import Material, prepare
from qutils.lab.studies.detection.plan import NETWORKS, PROFILES, Profile, choose
from qutils.lab.studies.detection.results import checks, rows
from qutils.lab.studies.detection.runs import Figures, measure

__all__ = [
    "NETWORKS",
    "PROFILES",
    "Figures",
    "Material",
    "Profile",
    "checks",
    "choose",
    "measure",
    "prepare",
    "rows",
]
