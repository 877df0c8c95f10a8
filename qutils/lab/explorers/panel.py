"""An explorer in the browser: a Jupyter widget that shows the newest setting and skips stale ones.

The browser sends one setting at a time and keeps only the last of those that follow while the
kernel computes, so that fast dragging never queues up (ipywidgets' message throttle).
"""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from qutils.errors import InvalidInputError, QutilsError
from qutils.lab.explorers.ahead import Ahead
from qutils.lab.explorers.control import Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.view import View
from qutils.lab.site.explorers import TEMPLATES


class Panel(anywidget.AnyWidget):
    """Controls, picture and numbers of an explorer.

    ``setting`` holds the index of each control's option; ``request`` counts the reader's moves and
    ``shown`` is the move that the picture answers.
    """

    _esm = TEMPLATES / "explorer.js"
    _css = TEMPLATES / "explorer.css"

    title = traitlets.Unicode().tag(sync=True)
    controls: traitlets.List[Any] = traitlets.List().tag(sync=True)
    setting: traitlets.List[int] = traitlets.List(traitlets.Int()).tag(sync=True)
    request = traitlets.Int(0).tag(sync=True)
    shown = traitlets.Int(-1).tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)
    html = traitlets.Unicode().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)

    def __init__(self, explorer: Explorer, **setting: Value) -> None:
        self.explorer = explorer
        self.view: View | None = None
        self._ahead = Ahead(explorer)
        start = explorer.complete(setting)
        super().__init__(
            title=explorer.title,
            controls=[control.to_json() for control in explorer.controls],
            setting=[c.options.index(start[c.name]) for c in explorer.controls],
        )
        self._answer()
        self.observe(self._answer, "request")

    @property
    def values(self) -> dict[str, Value]:
        """The setting by name."""
        pairs = zip(self.explorer.controls, self.setting, strict=True)
        return {control.name: control.options[index] for control, index in pairs}

    def move(self, **setting: Value) -> View:
        """Set controls from Python, as if they were dragged; returns what is then shown.

        Raises:
            InvalidInputError: an unknown control, a value that is none of its options, or a setting
                that has no answer (the page says so too).
        """
        wanted = self.explorer.complete({**self.values, **setting})
        with self.hold_sync():
            self.setting = [c.options.index(wanted[c.name]) for c in self.explorer.controls]
            self.request += 1
        if self.error or self.view is None:
            raise InvalidInputError(self.error)
        return self.view

    def _answer(self, _: Any = None) -> None:
        """Compute and send one picture with its numbers, together.

        An error is shown where the reader looks, not raised into a log that nobody sees.
        """
        self._ahead.stop()
        try:
            view, picture = self.explorer.answer(**self.values)
        except Exception as problem:
            meant = isinstance(problem, QutilsError)
            text = str(problem) if meant else f"{type(problem).__name__}: {problem}"
            with self.hold_sync():
                self.error, self.shown = text, self.request
            return
        self.view = view
        with self.hold_sync():
            self.picture, self.html, self.alt = picture, view.html(), view.alt
            self.error, self.shown = "", self.request
        self._ahead.begin(self.values)
