from __future__ import annotations

import json
import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes

from qutils.errors import DataError, InvalidInputError
from qutils.experiments import site
from qutils.experiments.runner import Run
from qutils.experiments.status import load_status
from tests.unit.widgets.toy import Toy

PARAMETERS = 'from typing import Literal\nprofile: Literal["smoke", "default"] = "default"  # size'
EXPLORE = "from qutils.widgets import explore\nfrom tests.unit.widgets.toy import Toy\n"


def write(folder, name, *sources, first="# A <title>\n\n**The question.** What is $x$?\n\nMore."):
    cells = [
        new_markdown_cell(first),
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        *(new_code_cell(source) for source in sources),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    (folder / name).write_text(writes(new_notebook(cells=cells, metadata=kernel)))


@pytest.fixture
def notebooks(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write(folder, "01_one.ipynb", "print('one')")
    write(folder, "02_two.ipynb", "print('two')")
    (folder / "scratch.ipynb").write_text("{}")  # not of the tutorial
    return folder


@pytest.fixture
def instant(monkeypatch):
    """Notebooks that are not executed; those whose stem is given fail of what is given."""
    failing = {}

    def run(notebook, target, parameters, **_):
        target.write_bytes(notebook.read_bytes())
        message = failing.get(notebook.stem, "")
        return Run(int(bool(message)), target, message)

    monkeypatch.setattr(site, "run_notebook", run)
    return failing


@pytest.mark.notebook
def test_explorers_move_without_a_kernel_and_code_is_visible(tmp_path):
    write(tmp_path, "01_toy.ipynb", f"{EXPLORE}explore(Toy())")
    made = site.build(tmp_path / "site", {"profile": "smoke"}, folder=tmp_path)
    assert made.exit_code == 0, made.chapters
    html = (tmp_path / "site" / "01_toy.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    frames = json.loads(data)
    assert frames["texts"][frames["frames"]["2,1"][1]] == (
        Toy().view(bits=8, shape="symmetric").html()
    )
    assert '<details class="code" open>' in html
    assert "# size" in html  # the parameters, as they can be set
    assert load_status(tmp_path / "site").profile == "smoke"


def test_pages_are_linked_in_order(notebooks, tmp_path, instant):
    write(notebooks, "01_one.ipynb", first="# One\n\n[on](02_two.ipynb#End) [out](https://x.org)")
    made = site.build(tmp_path / "site", {}, folder=notebooks)
    assert [chapter.name for chapter in made.chapters] == ["01_one", "02_two"]
    one = (tmp_path / "site" / "01_one.html").read_text()
    assert one.count('rel="next" href="02_two.html"') == 2
    assert 'rel="prev"' not in one
    assert 'href="02_two.html#End"' in one
    assert 'href="https://x.org"' in one
    assert 'rel="prev" href="01_one.html"' in (tmp_path / "site" / "02_two.html").read_text()


def test_the_index_has_a_card_with_the_question_of_each(notebooks, tmp_path, instant):
    index = site.build(tmp_path / "site", {}, folder=notebooks).index.read_text()
    assert '<a href="02_two.html">A &lt;title&gt;</a>' in index
    assert "<p>What is <math" in index
    assert "More." not in index


def test_a_page_tells_parameters_other_than_those_it_shows(tmp_path, instant):
    write(tmp_path, "01_one.ipynb", "print('one')")
    write(tmp_path, "02_two.ipynb", "print('two')")
    for name in ("01_one.ipynb", "02_two.ipynb"):
        text = (tmp_path / name).read_text().replace("# size", "# size\\nword: str = 'a'  # any")
        (tmp_path / name).write_text(text)
    site.build(tmp_path / "site", {"profile": "smoke", "word": "<b>"}, folder=tmp_path)
    page = (tmp_path / "site" / "02_two.html").read_text()
    assert "<span>with word = <code>&lt;b&gt;</code></span>" in page
    assert load_status(tmp_path / "site").parameters == {"profile": "smoke", "word": "<b>"}
    site.build(tmp_path / "plain", {}, folder=tmp_path)
    assert "<span>with" not in (tmp_path / "plain" / "02_two.html").read_text()
    assert load_status(tmp_path / "plain").parameters == {}


def test_nothing_is_loaded_from_elsewhere(notebooks, tmp_path, instant):
    site.build(tmp_path / "site", {}, folder=notebooks)
    for path in (tmp_path / "site").glob("*.html"):
        html = path.read_text()
        assert not re.search(r"(src|url\()\s*=?\s*[\"']?http", html)
        assert '<link rel="stylesheet' not in html
        assert "default-src 'none'" in html


def test_a_failure_is_published_and_tells(notebooks, tmp_path, instant):
    instant["01_one"] = "ValueError: <no>"
    made = site.build(tmp_path / "site", {}, folder=notebooks)
    assert made.exit_code == 1
    assert "ValueError: &lt;no&gt;" in (tmp_path / "site" / "01_one.html").read_text()
    assert "ValueError: &lt;no&gt;" in made.index.read_text()
    assert "This notebook failed" not in (tmp_path / "site" / "02_two.html").read_text()
    assert load_status(tmp_path / "site").outcome == "failed"


def test_a_notebook_that_lacks_a_package_says_so_and_is_no_failure(notebooks, tmp_path, instant):
    instant["02_two"] = "MissingPackageError: its weights are missing: pip install <them>"
    made = site.build(tmp_path / "site", {}, folder=notebooks)
    assert made.exit_code == 0
    page = (tmp_path / "site" / "02_two.html").read_text()
    for html in (page, made.index.read_text()):
        assert "to its end here" in html
        assert "its weights are missing: pip install &lt;them&gt;" in html
        assert "This notebook failed" not in html
    assert load_status(tmp_path / "site").outcome == "ok"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_page_too_heavy_leaves_the_earlier_site(notebooks, tmp_path, instant, monkeypatch):
    site.build(tmp_path / "site", {}, folder=notebooks)
    before = contents(tmp_path / "site")
    monkeypatch.setattr(site, "PAGE_LIMIT", 1_000)
    with pytest.raises(DataError, match=r"01_one takes .* bytes, more than 1,000: offer fewer"):
        site.build(tmp_path / "site", {}, folder=notebooks)
    assert contents(tmp_path / "site") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notebooks", "site"]


def test_an_interrupted_build_leaves_the_earlier_site(notebooks, tmp_path, instant, monkeypatch):
    site.build(tmp_path / "site", {}, folder=notebooks)
    before = contents(tmp_path / "site")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(site, "run_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        site.build(tmp_path / "site", {}, folder=notebooks)
    assert contents(tmp_path / "site") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notebooks", "site"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"profil": "smoke"}, "no notebook has a parameter profil"), ({"profile": "tiny"}, "tiny")],
)
def test_bad_parameters_are_refused_before_anything_runs(
    notebooks, tmp_path, instant, parameters, message
):
    with pytest.raises(InvalidInputError, match=message):
        site.build(tmp_path / "site", parameters, folder=notebooks)
    assert not (tmp_path / "site").exists()


def test_a_folder_of_something_else_is_left_alone(notebooks, tmp_path, instant):
    with pytest.raises(InvalidInputError, match="holds something other"):
        site.build(notebooks, {}, folder=notebooks)


def test_without_notebooks_it_says_so(tmp_path):
    with pytest.raises(InvalidInputError, match="no tutorial notebooks"):
        site.build(tmp_path / "site", {}, folder=tmp_path)
