"""A figure as the value of a notebook cell, with words for those who do not see it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from qutils.errors import InvalidInputError
from qutils.lab.figures.theme import to_png

#: Pixels per inch in a notebook: sharp on a dense screen, light in a page.
DPI = 110


@dataclass(frozen=True)
class Shown:
    """A figure that displays itself as PNG; ``alt`` says in words what it shows."""

    figure: Figure
    alt: str

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        picture = base64.b64encode(to_png(self.figure, dpi=DPI)).decode("ascii")
        return {"image/png": picture, "text/plain": self.alt}, {"image/png": {"alt": self.alt}}


def show(figure: Figure, alt: str) -> Shown:
    """What to leave as the last value of a cell to show a figure.

    Raises:
        InvalidInputError: ``alt`` is empty.
    """
    if not alt.strip():
        raise InvalidInputError("a figure needs alt: one sentence that says what it shows")
    return Shown(figure, alt)
