"""Fast dragging over something slow, and kernels that die, in JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
from playwright.sync_api import Browser

from qutils.errors import QutilsError
from qutils.lab.browser import notebooks
from qutils.lab.browser.chromium import Watched, tab
from qutils.lab.browser.explored import Explored
from qutils.lab.browser.notebooks import open_in_lab
from qutils.lab.serve import Served, serving
from tests.browser.conftest import settings_in
from tests.browser.kernels import forked
from tests.unit.lab.explorers.toy import Toy

PRESSES = 30


@pytest.fixture
def toy(browser: Browser, lab: Served, copies: Path) -> Iterator[tuple[Watched, Explored]]:
    with tab(browser) as watched:
        (explored,) = open_in_lab(watched.page, lab, "toy.ipynb")
        yield watched, explored
    lab.stop_kernels()


def test_fast_dragging_skips_what_is_stale_and_ends_at_the_last_value(
    toy: tuple[Watched, Explored],
) -> None:
    watched, explored = toy
    bits, _, pause = explored.controls
    explored.go(pause, 1)  # every answer takes 0.4 s from now on
    before = int(explored.facts()["computed"])
    explored.input(bits).focus()
    keys = watched.page.keyboard
    for press in range(PRESSES):
        keys.press("ArrowRight" if press % 8 < 4 else "ArrowLeft")
    keys.press("End")
    explored.root.locator(".busy").wait_for(state="visible", timeout=5_000)
    assert explored.root.get_attribute("aria-busy") == "true"
    explored.settle()
    assert not explored.busy()
    assert explored.facts()["sqnr_db"] == Toy().view(bits=8).facts[0].text
    assert int(explored.facts()["computed"]) - before <= 4
    assert watched.errors == []


def test_a_killed_kernel_leaves_the_page_saying_so(
    toy: tuple[Watched, Explored], lab: Served
) -> None:
    watched, explored = toy
    kill_kernels(lab)
    watched.page.locator(".jp-Dialog .jp-mod-accept").click()  # "appears to have died"
    explored.input(explored.controls[0]).focus()
    watched.page.keyboard.press("ArrowRight")
    problem = explored.root.locator(".problem")
    problem.wait_for(state="visible", timeout=20_000)
    assert "is gone" in problem.inner_text()
    assert "Restart it" in problem.inner_text()
    assert not explored.busy()


def test_after_a_restart_the_page_says_that_its_kernel_is_gone(
    toy: tuple[Watched, Explored],
) -> None:
    watched, explored = toy
    watched.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    restart = re.compile("^Restart Kernel(…|[.]{3})")
    watched.page.get_by_role("menuitem", name=restart).first.click()
    watched.page.locator(".jp-Dialog .jp-mod-accept").click()
    problem = explored.root.locator(".problem")
    problem.wait_for(state="visible", timeout=20_000)
    assert "is gone" in problem.inner_text()


def test_what_a_dialog_says_is_told_when_a_notebook_does_not_begin(
    browser: Browser, copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server of its own: one that has shown dialogs before may not show this one."""
    monkeypatch.setattr(notebooks, "LOADS", 2)
    monkeypatch.setattr(notebooks, "BEGIN", 2_000)
    strange = nbformat.read(copies / "toy.ipynb", 4)
    strange.metadata.kernelspec = {"name": "cobol", "display_name": "COBOL", "language": "cobol"}
    nbformat.write(strange, copies / "strange.ipynb")
    with (
        serving("lab", copies / "toy.ipynb", extra=settings_in(tmp_path)) as lab,
        tab(browser) as watched,
        pytest.raises(QutilsError, match=r"begin to run strange\.ipynb: .*[Kk]ernel"),
    ):
        open_in_lab(watched.page, lab, "strange.ipynb")


def kill_kernels(served: Served) -> None:
    running = [*served.kernels(), *forked(served.process.pid)]
    assert running
    for process in running:
        process.kill()
        psutil.wait_procs([process], timeout=10)
