"""Backends, one folder each: the record, its integer kernels, its exporter and its runtime.

Importing the package imports no exporter and no runtime, and so neither torch nor another
framework.
"""

from qutils.backends.backend import Backend
from qutils.backends.registry import BACKENDS, readers_of, targets_of

__all__ = ["BACKENDS", "Backend", "readers_of", "targets_of"]
