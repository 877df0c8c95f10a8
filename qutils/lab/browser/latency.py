"""How long a reader waits: from a key press to the changed picture, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np

from qutils.lab.browser.chromium import tab
from qutils.lab.browser.explored import Explored, key
from qutils.lab.browser.notebooks import open_in_lab
from qutils.lab.explorers.registry import EXPLORERS
from qutils.lab.serve import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MOVES = 60
#: What dragging has to keep to [ms]: one tensor or layer, and the lab, which scores a network.
TARGET_MS, WHOLE_TARGET_MS = 100.0, 500.0
#: Explorers that run a whole network at every move; the others show one tensor or layer.
WHOLE = ("lab", "layers")
# The clock starts where the browser tells of the key, and stops when the new picture was painted.
_CLOCK = """root => new Promise((armed) => {
  window.qxWaited = new Promise((done) => {
    let start;
    const begin = () => (start = performance.now());
    root.addEventListener("keydown", begin, { capture: true, once: true });
    const watch = new MutationObserver(() => {
      if (start === undefined || root.dataset.shown !== root.dataset.request) return;
      watch.disconnect();
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
    });
    watch.observe(root, { attributes: true, attributeFilter: ["data-shown"] });
  });
  armed();
})"""
LOOK = 5_000  # ms
_WAITED = "() => window.qxWaited"


@dataclass(frozen=True)
class Latency:
    """Milliseconds from key to picture of one explorer, over ``moves`` key presses."""

    name: str
    title: str
    moves: int
    median_ms: float
    p95_ms: float
    max_ms: float

    @property
    def target_ms(self) -> float:
        """What its 95th percentile has to keep to."""
        return WHOLE_TARGET_MS if self.name in WHOLE else TARGET_MS


def measure(
    browser: Browser, work: Path, names: Sequence[str] | None = None, moves: int = MOVES
) -> Iterator[Latency]:
    """Show each registered explorer in JupyterLab and press arrow keys, all controls in turn.

    The first key follows ``LOOK`` after the first picture, which a reader looks at, too.
    ``work`` takes the notebooks; ``names`` are all of ``EXPLORERS`` unless given.
    """
    chosen = tuple(names or EXPLORERS)
    for name in chosen:
        _write(work / f"{name}.ipynb", name)
    with serving("lab", work / f"{chosen[0]}.ipynb") as served:
        for name in chosen:
            with tab(browser) as watched:
                (explored,) = open_in_lab(watched.page, served, f"{name}.ipynb")
                watched.page.wait_for_timeout(LOOK)
                title, waited = explored.title, list(_waits(explored, moves))
            served.stop_kernels()
            middle, late = np.percentile(waited, [50, 95])
            figures = (round(float(value), 1) for value in (middle, late, max(waited)))
            yield Latency(name, title, len(waited), *figures)


def _waits(explored: Explored, moves: int) -> Iterator[float]:
    """One wait [ms] for each key press; every control gets its share, back and forth."""
    controls = [control for control in explored.controls if control.count > 1]
    for control in controls:
        explored.input(control).focus()
        explored.press(control, explored.at(control) < control.count - 1)  # the first one warms up
        forward = True
        for _ in range(-(-moves // len(controls))):
            at = explored.at(control)
            forward = (forward or at == 0) and at < control.count - 1
            explored.root.evaluate(_CLOCK)
            explored.page.keyboard.press(key(control, forward))
            yield float(explored.page.evaluate(_WAITED))


def _write(path: Path, name: str) -> None:
    source = (
        "from qutils.lab.explorers import explore\n"
        "from qutils.lab.explorers.registry import explorer\n"
        f"explore(explorer({name!r}))"
    )
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    v4: Any = nbformat.v4
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source)], metadata={"kernelspec": kernel})
    path.write_text(v4.writes(notebook), encoding="utf-8")
