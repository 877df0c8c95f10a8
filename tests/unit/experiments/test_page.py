import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from qutils.experiments import compare, markup, page
from tests.unit.experiments.toy import origin, results, row

EVIL = "<script>alert('evil')</script><img src=x onerror=alert(1)>"


def rendered(*cells, **more):
    return page.render(new_notebook(cells=list(cells)), "A <title>", origin(), **more)


def code(*outputs, source="x = 1", tags=()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def display(data, metadata=None):
    return new_output("display_data", data, metadata=metadata or {})


@pytest.mark.parametrize(
    "cell",
    [
        new_markdown_cell(EVIL),
        code(source=EVIL),
        code(new_output("stream", name="stdout", text=EVIL)),
        code(new_output("stream", name="stderr", text=EVIL)),
        code(display({"text/html": EVIL})),
        code(display({"text/plain": EVIL})),
        code(display({"text/markdown": EVIL})),
        code(display({"image/svg+xml": f"<svg>{EVIL}</svg>"}, {"image/svg+xml": {"alt": EVIL}})),
        code(display({"application/javascript": EVIL})),
        code(new_output("error", ename="E", evalue=EVIL, traceback=[EVIL])),
    ],
    ids=["prose", "code", "stdout", "stderr", "html", "plain", "markdown", "svg", "js", "error"],
)
def test_nothing_of_a_notebook_can_run(cell):
    html = rendered(cell, failure=EVIL)
    assert "<script>alert" not in html
    assert "<img src=x" not in html


def test_nothing_is_loaded_from_elsewhere():
    html = rendered(
        new_markdown_cell("# T\n\n![x](https://example.org/x.png) [link](https://example.org)"),
        code(
            display({"text/html": '<script src="https://cdn.example.org/x.js"></script><b>b</b>'})
        ),
    )
    assert re.findall(r'(?:src|url\()\s*=?\s*"?http', html) == []
    assert 'href="https://example.org"' in html
    assert "<b>b</b>" in html


def test_links_that_run_code_are_disarmed():
    assert "javascript:" not in rendered(new_markdown_cell("[x](javascript:alert(1))"))


def test_code_is_folded_and_pictures_are_embedded():
    png = display({"image/png": "iVBORw0KGgo="}, {"image/png": {"alt": "A line."}})
    html = rendered(code(png))
    assert '<details class="code"><summary>Code</summary>' in html
    assert '<img src="data:image/png;base64,iVBORw0KGgo=" alt="A line.">' in html


@pytest.mark.parametrize("tag", ["parameters", "injected-parameters", "remove-cell"])
def test_cells_can_be_left_out(tag):
    assert "secret" not in rendered(code(source="secret = 1", tags=[tag]))


def test_input_can_be_left_out():
    html = rendered(code(display({"text/plain": "shown"}), source="secret", tags=["remove-input"]))
    assert "shown" in html
    assert "secret" not in html


def test_progress_bars_show_their_last_state():
    pieces = [
        new_output("stream", name="stderr", text=t) for t in ("\r 10 %", "\r 99 %", "\r100 %\n")
    ]
    html = rendered(code(*pieces))
    assert html.count("<summary>Log</summary>") == 1
    assert "<pre>100 %" in html


def test_table_style_is_not_shown_as_text():
    assert "color" not in markup.sanitized("<style>td {color: red}</style><table></table>")


def test_failure_is_a_banner_with_a_way_to_the_traceback():
    error = new_output(
        "error", ename="E", evalue="x", traceback=["\x1b[31mValueError\x1b[0m: x < 1"]
    )
    html = rendered(code(error), failure="ValueError: x < 1")
    assert "This run failed.</strong> ValueError: x &lt; 1" in html
    assert 'href="#failure"' in html
    assert '<span class="ansi-red-fg">ValueError</span>: x &lt; 1' in html


def test_page_tells_its_origin():
    change = compare.compare(results(row()), results(row(top1=80.0)))
    html = rendered(new_markdown_cell("prose"), change=change)
    assert "<title>A &lt;title&gt;</title>" in html
    assert "<h1>A &lt;title&gt;</h1>" in html
    assert "A &lt;fast&gt; CPU" in html
    assert "0123456789" in html
    assert "<td><code>[2, 4]</code></td>" in html
    assert "toy ptq W8A8 minmax per_channel simulated torch" in html
    assert "−12.5" in html
