"""Show an explorer in a notebook: live, or as what the place of showing can hold."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from qutils.errors import unknown_name
from qutils.lab.explorers.control import Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.frames import frames
from qutils.lab.site.explorers import MIME, MODE

#: ``live`` (default), ``picture`` (a report), ``frames`` (the site): the values of ``MODE``.
MODES = ("live", "picture", "frames")
INSTALL = (
    "To drag the sliders, install JupyterLab and widgets: make lab (or pip install -e '.[lab]')."
)


def explore(explorer: Explorer, **setting: Value) -> Any:
    """What to leave as the last value of a cell: the explorer, live where the sliders can run.

    Without the ``lab`` extra its picture stands there instead, and which command makes it live; a
    report shows the picture alone, a page of the site the answers computed beforehand.

    Raises:
        InvalidInputError: an unknown control, or a value that is none of its options.
    """
    explorer.complete(setting)
    mode = os.environ.get(MODE, "live")
    if mode not in MODES:
        raise unknown_name(f"value of {MODE}", mode, MODES)
    if mode == "frames":
        return _Shown(
            {MIME: frames(explorer, setting, progress=True), "text/plain": explorer.title}
        )
    if mode == "live" and find_spec("anywidget") is not None:
        from qutils.lab.explorers.panel import Panel

        return Panel(explorer, **setting)
    return _still(explorer, setting, notice=mode == "live")


def _still(explorer: Explorer, setting: dict[str, Value], notice: bool) -> _Shown:
    view = explorer.view(**setting)
    text = explorer.title + (f". {INSTALL}" if notice else "")
    if notice:
        print(INSTALL)
    return _Shown({"image/png": explorer.picture(view), "text/plain": text}, view.alt)


class _Shown:
    """A ready-made bundle of output types."""

    def __init__(self, bundle: dict[str, Any], alt: str = "") -> None:
        self._bundle, self._alt = bundle, alt

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._bundle, {"image/png": {"alt": self._alt}}
