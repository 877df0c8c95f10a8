"""An explorer: controls in, a view and a picture out. No browser is needed to run one."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import product

from qutils.errors import unknown_name
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.view import View
from qutils.lab.figures.live import LiveFigure

Setting = Mapping[str, Value]

#: One answer at a time: JupyterLab hands moves to a thread of their own (comms over subshells),
#: while what is painted ahead may still run on the notebook's.
_ANSWERING = threading.RLock()


class Explorer(ABC):
    """Something to drag: it answers every setting of its controls with a view and a picture.

    ``compute`` is a pure function of the setting; ``plot`` is built once and redrawn from the
    view's data, which is what makes dragging smooth.
    """

    title: str
    controls: tuple[Control, ...]
    plot: LiveFigure
    #: Controls whose other options are slow when first shown, and are prepared while nothing moves.
    ahead: tuple[str, ...] = ()

    @abstractmethod
    def compute(self, **setting: Value) -> View:
        """The answer to a complete setting, checked already."""

    def view(self, **setting: Value) -> View:
        """The answer to a setting; controls that are not named keep their default.

        Raises:
            InvalidInputError: an unknown control, or a value that is none of its options.
        """
        return self.compute(**self.complete(setting))

    def complete(self, setting: Setting) -> dict[str, Value]:
        """A whole setting, checked: defaults filled in."""
        known = {control.name: control for control in self.controls}
        for name in setting:
            if name not in known:
                raise unknown_name("control", name, known)
        return {n: c.check(setting.get(n, c.default)) for n, c in known.items()}

    def answer(self, **setting: Value) -> tuple[View, bytes]:
        """View and picture of a complete setting, on any thread."""
        with _ANSWERING:
            view = self.compute(**setting)
            return view, self.picture(view)

    def picture(self, view: View, image_format: str = "png") -> bytes:
        """The picture of a view."""
        self.plot.show(view.data)
        return self.plot.image(image_format)

    def frames(self) -> Iterator[dict[str, Value]]:
        """Every setting that a page without a kernel offers, the last control moving fastest."""
        choices = [control.frames or control.options for control in self.controls]
        names = [control.name for control in self.controls]
        for values in product(*choices):
            yield dict(zip(names, values, strict=True))
