"""Every tutorial notebook in JupyterLab, as its reader meets it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from qutils.lab.browser.chromium import Watched, tab
from qutils.lab.browser.explored import Explored
from qutils.lab.browser.notebooks import begin_in_lab, end_in_lab
from qutils.lab.serve import Served
from tests.browser import checks
from tests.browser.conftest import EXPLORING
from tests.browser.reference import Reference, shown_by

#: Notebooks opened at every run of CI; a page of the site drags the explorers of the others.
DAILY = ("01_affine_mapping.ipynb", "07_qat.ipynb", "08_lab.ipynb")
_OTHER = pytest.mark.nightly(reason="its page is dragged; three notebooks open in JupyterLab daily")
NOTEBOOKS = [
    pytest.param(path.name, marks=() if path.name in DAILY else _OTHER) for path in EXPLORING
]


@dataclass(frozen=True)
class Opened:
    """A notebook that has run in JupyterLab, and what its explorers have to show."""

    tab: Watched
    pairs: tuple[tuple[Explored, Reference], ...]


@pytest.fixture(scope="module", params=NOTEBOOKS)
def opened(
    request: pytest.FixtureRequest, browser: Browser, lab: Served, copies: Path
) -> Iterator[Opened]:
    with tab(browser) as watched:
        begin_in_lab(watched.page, lab, request.param)
        wanted = shown_by(copies / request.param)  # meanwhile
        found = end_in_lab(watched.page, request.param)
        assert len(found) == len(wanted), "each explore() of the notebook shows one explorer"
        yield Opened(watched, tuple(zip(found, wanted, strict=True)))
    lab.stop_kernels()


def test_every_control_moves_and_what_is_shown_is_right(opened: Opened) -> None:
    for page, reference in opened.pairs:
        assert page.setting() == reference.begin()
        checks.right_wherever_it_is_moved(page, reference)
    assert opened.tab.errors == []
    assert opened.tab.strangers == []


def test_no_frame_is_blank(opened: Opened) -> None:
    for page, _ in opened.pairs[:1]:
        checks.never_blank(page)


def test_controls_are_reached_by_tab_and_named(opened: Opened) -> None:
    for page, _ in opened.pairs:
        checks.reachable_and_named(page)


@pytest.mark.parametrize("width", [1280, 800])
def test_it_fits_and_is_legible(opened: Opened, width: int, tmp_path: Path) -> None:
    opened.tab.page.set_viewport_size({"width": width, "height": 900})
    for page, _ in opened.pairs:
        checks.fits(page)
        checks.legible(page)
    assert opened.tab.errors == []
