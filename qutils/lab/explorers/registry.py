"""Every explorer there is, by name: notebooks show them, tests and the latency benchmark read them.

An explorer's class is imported when it is asked for; ``default()`` of it, or the class without
arguments, is light enough for a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

from qutils.errors import unknown_name
from qutils.lab.explorers.explorer import Explorer

Factory = Callable[[], Explorer]


def _lazy(module: str, name: str) -> Factory:
    """Make ``explorers.<module>.<name>`` when called, by ``default()`` where it has one."""

    def make() -> Explorer:
        found = getattr(import_module(f"qutils.lab.explorers.{module}"), name)
        made = getattr(found, "default", found)()
        assert isinstance(made, Explorer)
        return made

    return make


EXPLORERS: Mapping[str, Factory] = MappingProxyType(
    {
        "affine": _lazy("affine", "AffineExplorer"),
        "calibration": _lazy("calibration", "CalibrationExplorer"),
        "granularity": _lazy("granularity", "GranularityExplorer"),
        "integer": _lazy("integer", "IntegerExplorer"),
        "lab": _lazy("lab", "LabExplorer"),
        "layers": _lazy("layers", "LayersExplorer"),
        "observers": _lazy("observers", "ObserverExplorer"),
        "qat": _lazy("qat", "QatExplorer"),
        "start": _lazy("start", "StartExplorer"),
    }
)


def explorer(name: str) -> Explorer:
    """The explorer of that name on its default material.

    Raises:
        InvalidInputError: an unknown name; the closest is suggested.
    """
    if name not in EXPLORERS:
        raise unknown_name("explorer", name, EXPLORERS)
    return EXPLORERS[name]()
