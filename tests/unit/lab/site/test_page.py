import json
import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from qutils.lab.results import compare
from qutils.lab.results.reuse import Reuse
from qutils.lab.site import explorers, markup, page
from tests.unit.lab.runner.toy import origin, results, row

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


@pytest.mark.parametrize(
    ("profile", "measured", "said"),
    [("smoke", True, True), ("full", True, False), ("smoke", False, False)],
)
def test_a_trial_says_that_it_is_one(profile, measured, said):
    made = page.render(new_notebook(), "A", origin(profile), measured=measured)
    assert ("A trial of the machinery" in made) is said


def test_results_say_what_was_reused_or_that_nothing_ever_is():
    assert "1 of 3 results reused" in rendered(measured=True, reuse=Reuse(1, 2))
    assert "measured anew in every run" not in rendered(measured=True, reuse=Reuse(1, 2))
    assert "measured anew in every run" in rendered(measured=True)
    assert "reused" not in rendered()  # a chapter has no results


def test_a_picture_is_as_wide_as_its_cell_says():
    png = display({"image/png": "iVBORw0KGgo="}, {"image/png": {"alt": "A.", "width": 576}})
    assert 'alt="A." width="576">' in rendered(code(png))


# --- explorers, solutions, formulas ---


def explorer(text="<dl><div><dt>SQNR</dt><dd data-fact='sqnr_db'>31 dB</dd></div></dl>", alt="A"):
    state = {"title": EVIL, "controls": [], "setting": []}
    data = {"state": state, "pictures": ["UklGRg=="], "texts": [text], "frames": {"": [0, 0, alt]}}
    return code(display({explorers.MIME: data, "text/plain": "Toy"}))


def holder(html):
    found = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    return [json.loads(each) for each in found]


def test_explorers_are_data_with_one_script_and_stylesheet():
    html = rendered(explorer(), explorer())
    assert html.count("<div data-explorer>") == 2
    assert html.count('<script type="module">') == 1
    assert html.count(".qx {") == 1
    assert [data["state"]["title"] for data in holder(html)] == [EVIL, EVIL]
    assert 'data-fact="sqnr_db"' in holder(html)[0]["texts"][0]


def test_the_progress_of_computing_frames_is_not_shown():
    cell = explorer()
    cell.outputs.insert(0, new_output("stream", name="stderr", text="100 %"))
    assert "100 %" not in rendered(cell)


def test_a_page_without_explorers_carries_no_script_of_theirs():
    html = rendered(new_markdown_cell("prose"))
    assert '<script type="module">' not in html
    assert ".qx {" not in html


@pytest.mark.parametrize("evil", [EVIL, "<p onmouseover='f()'>x</p>", "</script><b>", "\u2028"])
def test_nothing_of_an_explorer_can_run(evil):
    html = rendered(explorer(text=evil, alt=evil))
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    (data,) = holder(html)
    assert "onmouseover" not in data["texts"][0]
    assert "<script" not in data["texts"][0]
    assert data["frames"][""][2] == evil
    assert "\u2028" not in html


def test_the_security_policy_still_forbids_all_that_is_loaded():
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', rendered(explorer()))
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src 'self' data: file:;")


def test_solutions_are_folded_together():
    html = rendered(
        new_markdown_cell("Exercise"),
        new_markdown_cell("The answer", metadata={"tags": ["solution"]}),
        code(display({"text/plain": "42"}), source="6 * 7", tags=["solution"]),
        new_markdown_cell("After"),
    )
    assert html.count('<details class="solution"><summary>Solution</summary>') == 1
    start, end = html.index('class="solution"'), html.index("After")
    assert start < html.index("The answer") < html.index("42") < end
    assert html.index("Exercise") < start


def test_formulas_are_mathml():
    html = markup.markdown("# Of $x$\n\nSo $\\frac{a}{b}$ and\n\n$$q < 1$$")
    assert '<h1 id="Of-">' in html
    assert "<mfrac>" in html
    assert 'display="block"' in html
    assert "$" not in html


def test_a_formula_can_do_no_harm():
    html = markup.markdown(
        "$\\text{<script>alert(1)</script>}$ $\\href{javascript:alert(1)}{x}$ "
        "$\\style{background:url(x)}{y}$ \ue0000\ue001"
    )
    assert "<script" not in html
    assert "javascript:" not in html
    assert "style=" not in html


def test_headings_keep_the_address_that_jupyter_gives_them():
    assert '<h2 id="What-we-saw">What we saw</h2>' in markup.markdown("## What we saw")
