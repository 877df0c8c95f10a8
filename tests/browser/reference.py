"""What a page has to show: the notebook's explorers, made again in the test's own process."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from unittest import mock

import IPython.display
import nbformat
from PIL import Image

from qutils.lab import explorers
from qutils.lab.browser.explored import Explored, Seen, Shown
from qutils.lab.explorers import Control, Explorer, Value
from qutils.lab.explorers.frames import offered
from qutils.lab.explorers.view import View

SAMPLES = 4  # options of a control that are compared; the keys between are not waited for
#: Options of which none is left out.
FEW = 5
LONG = 20  # options of a menu of which the first few and the last are compared


@dataclass(frozen=True)
class Reference:
    """An explorer, the setting its notebook starts it at, whether its page has but its frames."""

    explorer: Explorer
    start: dict[str, Value]
    framed: bool = False
    known: dict[tuple[int, ...], Seen] = field(default_factory=dict, compare=False)

    @property
    def controls(self) -> list[Control]:
        """Those that the page has, with the options that it offers."""
        return offered(self.explorer) if self.framed else list(self.explorer.controls)

    def begin(self) -> list[int]:
        """Index of the option that each control has to start at."""
        wanted = [(control, self.start[control.name]) for control in self.controls]
        return [c.options.index(v if v in c.options else c.default) for c, v in wanted]

    def expected(self, indices: list[int]) -> Seen:
        """What the page has to show at a setting, computed once."""
        place = (self.framed, *indices)
        if place not in self.known:
            view = self.view(indices)
            facts = {fact.name: fact.text for fact in view.facts}
            self.known[place] = Seen(indices, "", facts, view.note, view.alt, self.pixels(view))
        return self.known[place]

    def view(self, indices: list[int]) -> View:
        """What a setting of the page has to show."""
        pairs = zip(self.controls, indices, strict=True)
        moved = {control.name: control.options[index] for control, index in pairs}
        fixed = {c.name: c.frames[0] for c in self.explorer.controls if self.framed and c.frames}
        return self.explorer.view(**{**fixed, **moved})

    def pixels(self, view: View) -> str:
        picture = self.explorer.picture(view, "webp" if self.framed else "png")
        with Image.open(io.BytesIO(picture)) as image:
            return hashlib.sha256(image.convert("RGBA").tobytes()).hexdigest()


@lru_cache(maxsize=32)
def shown_by(notebook: Path) -> tuple[Reference, ...]:
    """Run the code of a notebook, keeping what it gives to ``explore``."""
    found: list[Reference] = []

    def keep(explorer: Explorer, **setting: Value) -> None:
        found.append(Reference(explorer, explorer.complete(setting)))

    names = {"__name__": "__main__", "display": IPython.display.display}
    cells = [c.source for c in nbformat.read(notebook, 4).cells if c.cell_type == "code"]
    last = max((place for place, source in enumerate(cells) if "explore(" in source), default=-1)
    here = Path.cwd()
    with mock.patch.object(explorers, "explore", keep):
        try:
            os.chdir(notebook.parent)
            for source in cells[: last + 1]:
                exec(compile(source, notebook.name, "exec"), names)
        finally:
            os.chdir(here)
    return tuple(found)


def compare(page: Explored, reference: Reference) -> Seen:
    """Assert that a page shows the reference's numbers, words and pixels; return what it shows."""
    seen = page.seen()
    expected = reference.expected(seen.setting)
    where = (page.title, seen.setting)
    assert seen.problem == "", where
    assert seen.facts == expected.facts, where
    assert seen.note == expected.note, where
    assert seen.alt == expected.alt, where
    assert seen.pixels == expected.pixels, where
    return seen


def matches(page: Explored, reference: Reference) -> None:
    """Assert that the page has the reference's controls, with all their options."""
    wanted = [(control.label, len(control.options)) for control in reference.controls]
    assert [(control.label, control.count) for control in page.controls] == wanted


def walk(page: Explored, control: Shown) -> Iterator[int]:
    """Move a control by keyboard through samples of its options, the first and last among them.

    Few options are all visited: of five observers only one may change a layer's ranges.
    """
    last = control.count - 1
    step = max(1, last // (SAMPLES - 1)) if last < LONG else 1
    some = (*range(0, last, step)[: SAMPLES - 1], last)
    for index in range(control.count) if control.count <= FEW else some:
        page.go(control, index)
        yield index
