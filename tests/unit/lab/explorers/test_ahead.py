"""What is prepared while nothing moves, and that a move ends it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

pytest.importorskip("anywidget")

from qutils.lab.explorers import ahead
from qutils.lab.explorers.ahead import neighbours
from qutils.lab.explorers.panel import Panel
from tests.unit.lab.explorers.toy import Toy, ToyPlot

T = TypeVar("T")


class Eager(Toy):
    ahead = ("bits",)


class SlowPlot(ToyPlot):
    def show(self, data: tuple[float, float]) -> None:
        super().show(data)
        time.sleep(0.003)  # whoever draws on another thread gets in between


class Slow(Eager):
    def __init__(self) -> None:
        super().__init__()
        self.plot = SlowPlot()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "PAUSE", 0.01)


def kernel(work: Coroutine[Any, Any, T]) -> T:
    """Run in a loop on a thread of its own: a browser's loop may run on this one."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(work)))
    thread.start()
    thread.join()
    return found[0]


async def idle(seconds: float = 1.0) -> None:
    await asyncio.sleep(seconds)


def test_the_nearest_options_of_the_named_controls_come_first():
    found = list(neighbours(Eager(), Eager().complete({"bits": 4})))
    assert [setting["bits"] for setting in found] == [3, 5, 2, 6, 7, 8]
    assert {setting["shape"] for setting in found} == {"affine"}
    assert list(neighbours(Toy(), Toy().complete({}))) == []


def test_every_neighbour_is_answered_and_what_is_shown_stays():
    async def look() -> tuple[int, int]:
        panel = Panel(Eager())
        first = panel.picture
        await idle()
        assert panel.picture == first
        assert panel.shown == 0
        before = panel.explorer.computed
        panel.move(bits=2)
        assert panel.picture == Toy().picture(Toy().view(bits=2))
        return before, panel.explorer.computed

    before, after = kernel(look())
    assert before == 1 + len(Eager().controls[0].options) - 1
    assert after == before + 1


def test_a_move_ends_it_and_an_error_does_not_stop_it():
    async def drag() -> int:
        panel = Panel(Eager(refused=3))
        await idle()
        seen = panel.explorer.computed
        panel.move(bits=5)
        panel._ahead.stop()
        await idle(0.1)
        assert panel.explorer.computed == seen + 1
        return seen

    assert kernel(drag()) == len(Eager().controls[0].options)


def test_moves_on_another_thread_are_answered_right():
    right = {bits: Toy().picture(Toy().view(bits=bits)) for bits in Toy().controls[0].options}

    def moves(panel: Panel) -> list[int]:
        wrong = []
        for bits in 3 * tuple(right):
            panel.move(bits=bits)
            if panel.picture != right[bits]:
                wrong.append(bits)
        return wrong

    async def drag() -> list[int]:
        panel, loop = Panel(Slow()), asyncio.get_running_loop()
        moving = loop.run_in_executor(None, moves, panel)
        while not moving.done():  # as if the notebook's own thread never stopped preparing
            panel._ahead._next(loop, panel._ahead._turn, neighbours(panel.explorer, panel.values))
            await asyncio.sleep(0)
        return await moving

    assert kernel(drag()) == []


def test_without_a_loop_nothing_is_prepared():
    assert Panel(Eager()).explorer.computed == 1
