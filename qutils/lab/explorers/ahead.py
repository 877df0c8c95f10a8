"""Painting ahead: what the next key may ask for is prepared while the reader looks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import product

from qutils.lab.explorers.control import Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.figures.live import KEPT

#: Seconds without a move before anything is prepared: dragging is never slowed down.
PAUSE = 0.3


class Ahead:
    """Answers, one at a time between two messages, settings near the current one.

    Only controls that the explorer names in ``ahead`` are moved. The answers are thrown away: what
    they leave behind are the explorer's own caches and the painted backgrounds of its figure.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self._turn = 0  # of the move that is prepared for

    def begin(self, values: Mapping[str, Value]) -> None:
        """Start over from a setting; does nothing outside of a running kernel."""
        self.stop()
        if not self.explorer.ahead:
            return
        with suppress(RuntimeError):  # no loop runs: a script, a test
            loop = asyncio.get_running_loop()
            settings = neighbours(self.explorer, values)
            loop.call_later(PAUSE, self._next, loop, self._turn, settings)

    def stop(self) -> None:
        """Prepare nothing more. May be called on another thread than what is prepared."""
        self._turn += 1

    def _next(
        self, loop: asyncio.AbstractEventLoop, turn: int, settings: Iterator[dict[str, Value]]
    ) -> None:
        setting = next(settings, None) if turn == self._turn else None
        if setting is None:
            return
        with suppress(Exception):  # it is told when the reader asks for that setting
            self.explorer.answer(**setting)
        loop.call_later(0, self._next, loop, turn, settings)


def neighbours(explorer: Explorer, values: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """Settings worth preparing, the nearest first: those that differ in ``explorer.ahead``.

    Every combination of these controls' options if the figure keeps that many backgrounds, else
    one control moved at a time.
    """
    moved = [control for control in explorer.controls if control.name in explorer.ahead]
    here = [control.options.index(values[control.name]) for control in moved]
    everywhere = list(product(*(range(len(control.options)) for control in moved)))

    def distance(places: tuple[int, ...]) -> tuple[int, list[int]]:
        steps = [abs(place - start) for place, start in zip(places, here, strict=True)]
        return sum(map(bool, steps)), steps

    most = len(moved) if len(everywhere) <= KEPT else 1  # controls moved together
    for places in sorted(everywhere, key=distance):
        if 0 < distance(places)[0] <= most:
            options = {c.name: c.options[place] for c, place in zip(moved, places, strict=True)}
            yield {**values, **options}
