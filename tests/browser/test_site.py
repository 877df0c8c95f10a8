"""The site from disk, the network cut off: sliders move, and what they show is the library's.

Pages of every notebook take minutes to build. Continuous integration builds them anyway and names
their folder in ``QUTILS_SITE``; otherwise one page is built here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser

from qutils.files import ROOT
from qutils.lab.browser.chromium import Watched, tab
from qutils.lab.browser.explored import Explored
from qutils.lab.browser.notebooks import open_page
from qutils.lab.site import site
from tests.browser import checks
from tests.browser.conftest import EXPLORING, TUTORIAL
from tests.browser.reference import Reference, shown_by

BUILT = os.environ.get("QUTILS_SITE")
PAGES = [path.stem for path in EXPLORING] if BUILT else ["toy"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, copies: Path) -> Path:
    """The pages of the smoke profile."""
    if BUILT:
        return ROOT / BUILT
    notebooks = tmp_path_factory.mktemp("toy")
    (notebooks / "00_toy.ipynb").write_bytes((copies / "plain.ipynb").read_bytes())
    made = site.build(notebooks / "site", {}, folder=notebooks)
    assert made.exit_code == 0, made.chapters
    (notebooks / "site" / "00_toy.html").rename(notebooks / "site" / "toy.html")
    return notebooks / "site"


@dataclass(frozen=True)
class Page:
    tab: Watched
    pairs: tuple[tuple[Explored, Reference], ...]
    formulas: bool  # whether its notebook holds any


@pytest.fixture(scope="module", params=PAGES)
def opened(
    request: pytest.FixtureRequest, browser: Browser, folder: Path, copies: Path
) -> Iterator[Page]:
    name = "plain" if request.param == "toy" else request.param
    wanted = [replace(each, framed=True) for each in shown_by(copies / f"{name}.ipynb")]
    with tab(browser, offline=True) as watched:
        found = open_page(watched.page, folder / f"{request.param}.html")
        cells = nbformat.read(copies / f"{name}.ipynb", 4).cells
        formulas = any("$" in cell.source for cell in cells if cell.cell_type == "markdown")
        yield Page(watched, tuple(zip(found, wanted, strict=True)), formulas)


def test_every_slider_moves_without_kernel_or_network_and_is_right(opened: Page) -> None:
    asked: list[str] = []
    opened.tab.page.on("request", lambda request: asked.append(request.url))
    for page, reference in opened.pairs:
        assert page.setting() == reference.begin()
        checks.right_wherever_it_is_moved(page, reference)
    assert opened.tab.errors == []
    assert opened.tab.strangers == []
    assert all(url.startswith(("data:", "blob:")) for url in asked)


def test_no_frame_is_blank(opened: Page) -> None:
    for page, _ in opened.pairs[:1]:
        checks.never_blank(page)


@pytest.mark.parametrize("width", [1280, 800])
def test_it_fits_is_legible_and_named(opened: Page, width: int) -> None:
    page = opened.tab.page
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    for explored, _ in opened.pairs:
        checks.fits(explored)
        checks.legible(explored)
        checks.reachable_and_named(explored)


def test_formulas_are_drawn(opened: Page) -> None:
    sizes = opened.tab.page.evaluate(
        "() => [...document.querySelectorAll('math')].map((m) => m.getBoundingClientRect().width)"
    )
    assert all(width > 0 for width in sizes)
    assert sizes or not opened.formulas


def test_the_index_leads_to_every_page(browser: Browser, folder: Path) -> None:
    with tab(browser, offline=True) as watched:
        watched.page.goto((folder / "index.html").as_uri())
        links = watched.page.locator(".card h2 a")
        assert links.count() == (len(TUTORIAL) if BUILT else 1)
        if BUILT:
            links.first.click()
            assert watched.page.locator("h1").count() == 1
        assert watched.errors == []
