from __future__ import annotations

import json
import re
from contextlib import nullcontext

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes

from qutils.errors import InvalidInputError
from qutils.lab.results import edition
from qutils.lab.runner import schedule
from qutils.lab.runner.launch import Launcher
from qutils.lab.runner.runner import Run
from qutils.lab.runner.status import load_status
from qutils.lab.site import site
from tests.unit.lab.explorers.toy import Toy

PARAMETERS = 'from typing import Literal\nprofile: Literal["smoke", "default"] = "default"  # size'
EXPLORE = "from qutils.lab.explorers import explore\nfrom tests.unit.lab.explorers.toy import Toy\n"


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
    monkeypatch.setattr(site, "launcher_for", lambda _: nullcontext(Launcher()))
    return failing


@pytest.mark.notebook
def test_explorers_move_without_a_kernel_and_code_is_visible(tmp_path, beside, monkeypatch):
    monkeypatch.setattr(site, "launcher_for", lambda _: nullcontext(beside.launcher or Launcher()))
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


def test_a_page_too_heavy_fails_alone(notebooks, tmp_path, instant, monkeypatch):
    site.build(tmp_path / "site", {}, folder=notebooks)
    limit = (tmp_path / "site" / "02_two.html").stat().st_size + 1_000
    monkeypatch.setattr(edition, "PAGE_LIMIT", limit)
    write(notebooks, "01_one.ipynb", first=f"# One\n\n{'far too much ' * 1_000}")
    made = site.build(tmp_path / "site", {}, folder=notebooks)
    assert [bool(chapter.failure) for chapter in made.chapters] == [True, False]
    assert re.fullmatch(
        rf"The page takes [\d,]+ bytes, more than {limit:,}\. Offer fewer options to pages without "
        r"a kernel \(Control\.frames\)\.",
        made.chapters[0].failure,
    )
    assert "This notebook failed" in (tmp_path / "site" / "01_one.html").read_text()
    assert "This notebook failed" not in (tmp_path / "site" / "02_two.html").read_text()
    assert made.exit_code == 1


def test_an_interruption_before_the_first_page_changes_nothing(
    notebooks, tmp_path, instant, monkeypatch
):
    site.build(tmp_path / "site", {}, folder=notebooks)
    before = contents(tmp_path / "site")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(site, "run_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        site.build(tmp_path / "site", {}, folder=notebooks)
    assert contents(tmp_path / "site") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notebooks", "site"]


def test_an_interruption_keeps_pages_that_are_done_and_older_ones(
    notebooks, tmp_path, instant, monkeypatch
):
    target = tmp_path / "site"
    site.build(target, {}, folder=notebooks)
    before, run = contents(target), site.run_notebook

    def first_only(notebook, *args, **kwargs):
        if notebook.stem == "01_one":
            raise KeyboardInterrupt
        return run(notebook, *args, **kwargs)

    write(notebooks, "02_two.ipynb", "print('two')", first="# Second, anew")
    monkeypatch.setattr(site, "run_notebook", first_only)
    monkeypatch.setattr(schedule, "WIDTH", 1)
    monkeypatch.setattr(schedule, "longest_first", lambda found, _: found[::-1])
    with pytest.raises(KeyboardInterrupt):
        site.build(target, {}, folder=notebooks)
    assert (target / "01_one.html").read_bytes() == before["01_one.html"]
    assert "Second, anew" in (target / "02_two.html").read_text()
    index = (target / "index.html").read_text()
    assert index.count("page of an earlier build") == 1
    assert "Second, anew" in index
    status = load_status(target)
    assert (status.outcome, status.message) == ("failed", "not run in this build: 01_one")


def test_seconds_of_each_notebook_are_kept(notebooks, tmp_path, instant):
    made = site.build(tmp_path / "site", {}, folder=notebooks)
    seconds = json.loads((tmp_path / "site" / "durations.json").read_text())
    assert set(seconds) == {"notebooks/01_one.ipynb", "notebooks/02_two.ipynb"}
    assert all(value >= 0 for value in seconds.values())
    assert "durations.json" in load_status(made.index.parent).files


def test_pages_of_notebooks_that_are_gone_are_removed(notebooks, tmp_path, instant):
    site.build(tmp_path / "site", {}, folder=notebooks)
    (tmp_path / "site" / "notes.txt").write_text("mine")
    (notebooks / "02_two.ipynb").unlink()
    site.build(tmp_path / "site", {}, folder=notebooks)
    assert sorted(contents(tmp_path / "site")) == [
        "01_one.html", "durations.json", "index.html", "notes.txt", "status.json",
    ]  # fmt: skip


def test_each_notebook_has_a_line_at_its_start_and_at_its_end(notebooks, tmp_path, instant, capsys):
    instant["02_two"] = "ValueError: no"
    site.build(tmp_path / "site", {}, folder=notebooks)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert {"01_one: runs", "02_two: runs"} < set(lines)
    assert any(re.fullmatch(r"01_one: done in [\d.]+ s", line) for line in lines)
    assert any(re.fullmatch(r"02_two: failed after [\d.]+ s", line) for line in lines)


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
