"""The parity report: the simulation and every runtime beside the integer reference."""

from qutils.experiments.parity.plan import PROFILES, SIMULATION, Profile, choose
from qutils.experiments.parity.results import checks, rows
from qutils.experiments.parity.runs import Figures, measure

__all__ = ["PROFILES", "SIMULATION", "Figures", "Profile", "checks", "choose", "measure", "rows"]
