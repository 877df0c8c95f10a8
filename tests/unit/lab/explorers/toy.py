"""A small explorer that answers at once, for tests of what shows explorers."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from qutils.errors import InvalidInputError
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.view import Fact, View
from qutils.lab.figures.live import LiveFigure

EVIL = "</script><script>alert('evil')</script><img src=x onerror=alert(1)>&\u2028"
VALUES = np.random.default_rng(0).normal(size=2_000)


class ToyPlot(LiveFigure):
    def __init__(self) -> None:
        super().__init__(6, 2.5)

    def build(self, figure: Figure) -> None:
        axes = figure.subplots()
        axes.set(xlabel="value", ylabel="rounded", xlim=(-3, 3), ylim=(-3, 3))
        (self.line,) = axes.plot([], [])
        self.move(self.line)

    def show(self, data: tuple[float, float]) -> None:
        step, shift = data
        x = np.linspace(-3, 3, 300)
        self.line.set_data(x, np.round((x - shift) / step) * step + shift)


class Toy(Explorer):
    """Round to a grid of 2**bits steps; ``pause`` makes it as slow as wanted."""

    title = "Toy"

    def __init__(self, note: str = "Steps shrink.", refused: int | None = None) -> None:
        self.controls = (
            Control("bits", "Bits", tuple(range(2, 9)), 4, frames=(2, 4, 8)),
            Control("shape", "Shape", ("affine", "symmetric"), "affine", kind="menu"),
            Control("pause", "Pause [ms]", (0, 400), 0, frames=(0,)),
        )
        self.plot = ToyPlot()
        self.note, self.refused = note, refused
        self.computed = 0

    def compute(self, **setting: Value) -> View:
        self.computed += 1
        time.sleep(int(setting["pause"]) / 1e3)
        bits = int(setting["bits"])
        if bits == self.refused:
            raise InvalidInputError(f"no kernel of {bits} bits")
        step = 6 / 2**bits
        shift = 0.0 if setting["shape"] == "symmetric" else step / 2
        rounded = np.round((VALUES - shift) / step) * step + shift
        sqnr = 10 * np.log10((VALUES**2).sum() / ((VALUES - rounded) ** 2).sum())
        facts = (Fact("sqnr_db", "SQNR", float(sqnr), "dB"), *self.more())
        alt = f"Staircase of {2**bits} steps, {setting['shape']}"
        return View(facts, self.note, alt, data=(step, shift))

    def more(self) -> tuple[Fact, ...]:
        return ()


class Counting(Toy):
    """Shows how many settings were computed, which a pure explorer could not."""

    def more(self) -> tuple[Fact, ...]:
        return (Fact("computed", "Computed", self.computed),)


def numbers(explorer: Explorer, **setting: Any) -> dict[str, Any]:
    return dict(explorer.view(**setting).numbers)
