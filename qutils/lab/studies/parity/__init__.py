"""The parity report: the simulation and every runtime beside the integer reference."""

from qutils.lab.studies.parity.plan import PROFILES, SIMULATION, Profile, choose
from qutils.lab.studies.parity.results import checks, rows
from qutils.lab.studies.parity.runs import Figures, measure

__all__ = ["PROFILES", "SIMULATION", "Figures", "Profile", "checks", "choose", "measure", "rows"]
