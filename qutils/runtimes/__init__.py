"""Runtimes: one interface, one file per runtime, one registry."""

from qutils.backends.shared.runtime import Runtime, RuntimeOptions
from qutils.runtimes.registry import RUNTIMES, RuntimeEntry, load

__all__ = ["RUNTIMES", "Runtime", "RuntimeEntry", "RuntimeOptions", "load"]
