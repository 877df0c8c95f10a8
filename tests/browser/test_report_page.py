"""A report page as a browser lays it out: tables and formulas, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import Browser, Page

from qutils.lab.browser.chromium import tab
from qutils.lab.results.frames import Table
from qutils.lab.site import page
from tests.unit.lab.runner.toy import origin

FORMULA = r"$$s = \frac{\beta - \alpha}{\sum_i 2^b - 1}, \quad q = \mathrm{clip}(x_1 + x_2)$$"
INTERVAL = "0.71 (0.64 to 0.83)"


@pytest.fixture(scope="module", params=[1100, 420], ids=["wide", "narrow"])
def opened(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    frame = pd.DataFrame({"file": [f"file {i}" for i in range(80)], "of FP32's time": INTERVAL})
    shown = new_output("display_data", {"text/html": Table(frame)._repr_html_()})
    cells = [new_markdown_cell(FORMULA), new_code_cell("frame", outputs=[shown])]
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.render(new_notebook(cells=cells), "A report", origin()), encoding="utf-8")
    with tab(browser, offline=True) as watched:
        watched.page.set_viewport_size({"width": request.param, "height": 800})
        watched.page.goto(path.as_uri())
        yield watched.page


def test_a_formula_has_no_bar_at_its_side(opened):
    formula = opened.locator("math[display=block]")
    assert formula.evaluate("m => m.scrollHeight - m.clientHeight") == 0


def test_the_page_itself_does_not_move_sideways(opened):
    width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.evaluate(width) == 0


def test_a_long_table_moves_in_a_box_under_its_head(opened):
    box = opened.locator(".output .wide")
    assert box.bounding_box()["height"] < 800
    last = opened.get_by_text("file 79", exact=True)
    last.scroll_into_view_if_needed()
    edges = "e => { const r = e.getBoundingClientRect(); return [r.top, r.bottom]; }"
    head = opened.locator("thead th").first.evaluate(edges)
    assert head[1] <= last.evaluate(edges)[0]
    assert head[0] == pytest.approx(box.evaluate(edges)[0], abs=1)


def test_an_interval_stays_in_one_line(opened):
    cell = opened.get_by_text(INTERVAL).first
    line = cell.evaluate("e => parseFloat(getComputedStyle(e).lineHeight)")
    assert cell.bounding_box()["height"] < 2 * line
