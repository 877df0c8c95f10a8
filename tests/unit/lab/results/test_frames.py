"""Tables of a page: whole, aligned, escaped."""

from __future__ import annotations

import pandas as pd
import pytest

from qutils.lab.results.frames import Table
from qutils.lab.site.markup import sanitized


def html(**columns):
    return Table(pd.DataFrame(columns))._repr_html_()


@pytest.mark.parametrize("count", [3, 500])
def test_every_row_is_there(count):
    table = html(place=[f"row {i}" for i in range(count)])
    assert table.count("<tr>") == count + 1  # and the head
    assert all(f">row {i}<" in table for i in range(count))
    assert (f"<caption>{count} rows</caption>" in table) is (count > 100)


def test_numbers_of_a_column_have_the_same_digits():
    table = html(x=[0.5, 0.125, None], n=[10_000, 2, 3])
    for cell in (">0.500<", ">0.125<", ">–<", ">10,000<", ">2<"):
        assert f'<td class="num"{cell}' in table


@pytest.mark.parametrize(
    ("text", "kind"),
    [("0.71 (0.64 to 0.83)", "num"), ("INT8 quantize_static", "short"), ("word " * 9, "text")],
)
def test_what_is_short_is_not_broken(text, kind):
    assert f'<td class="{kind}">{text}</td>' in html(x=[text, ""])


def test_the_index_is_not_shown():
    frame = pd.DataFrame({"x": [1]}, index=["secret"])
    assert "secret" not in Table(frame)._repr_html_() + repr(Table(frame))


def test_content_is_escaped_and_survives_the_page():
    table = html(**{"<b>": ["<script>alert(1)</script>"]})
    assert "<script>" not in table
    assert "<b>" not in table
    plain = html(x=[1.5])
    assert sanitized(plain) == plain
