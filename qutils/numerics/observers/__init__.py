"""Observers: what a tensor held -> the range it is quantized in. One file per observer."""

from qutils.numerics.observers.registry import OBSERVERS, Observer, qparams_of, range_of
from qutils.numerics.observers.rows import Rows, rows_of
from qutils.numerics.observers.statistic import Statistic

__all__ = ["OBSERVERS", "Observer", "Rows", "Statistic", "qparams_of", "range_of", "rows_of"]
