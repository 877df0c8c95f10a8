"""Explorers: sliders and menus over a real tensor, layer or model, tested without a browser."""

from qutils.widgets.control import Control, Value
from qutils.widgets.display import explore
from qutils.widgets.explorer import Explorer
from qutils.widgets.view import Fact, View

__all__ = ["Control", "Explorer", "Fact", "Value", "View", "explore"]
