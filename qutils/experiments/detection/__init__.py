"""The detection report: YOLO networks in INT8, by their own exporter and by ours.

Ultralytics is an optional extra: look with ``installed()`` before anything is made.
"""

from qutils.experiments.detection.material import Material, prepare
from qutils.experiments.detection.plan import NETWORKS, PROFILES, Profile, choose, installed
from qutils.experiments.detection.results import checks, rows
from qutils.experiments.detection.runs import Figures, measure

__all__ = [
    "NETWORKS",
    "PROFILES",
    "Figures",
    "Material",
    "Profile",
    "checks",
    "choose",
    "installed",
    "measure",
    "prepare",
    "rows",
]
