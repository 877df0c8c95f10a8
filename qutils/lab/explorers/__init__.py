"""Explorers: sliders and menus over a real tensor, layer or model, tested without a browser."""

from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.display import explore
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.view import Fact, View

__all__ = ["Control", "Explorer", "Fact", "Value", "View", "explore"]
