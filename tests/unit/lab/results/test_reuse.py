"""What a report took from an earlier run says when, at which commit and on which CPU that was."""

import dataclasses
import json

import nbformat
import pytest

from qutils.errors import DataError
from qutils.lab.results import provenance, publish, readme, results, reuse
from qutils.lab.results.cache import Cache
from qutils.lab.results.reuse import Origin, Reuse, load_reuse, merged
from qutils.lab.site import page
from tests.unit.lab.runner.toy import origin, row, write_notebook
from tests.unit.lab.runner.toy import results as made

OLD = Origin("2026-01-01T01:00:00Z", "2026-01-02T01:00:00Z", "a" * 40, "A CPU")
WORDS = "30 of 86 results reused, computed 2026-01-01 to 2026-01-02 at aaaaaaaaaa on A CPU"


def test_origins_of_one_commit_and_machine_become_one_span():
    later = Origin("2026-01-03T01:00:00Z", "2026-01-03T02:00:00Z", "a" * 40, "A CPU")
    other = Origin("2025-12-31T01:00:00Z", "2025-12-31T01:00:00Z", None, "A CPU")
    span = Origin(OLD.first, later.last, "a" * 40, "A CPU")
    assert merged([later, other, OLD]) == (other, span)
    assert str(other) == "2025-12-31 without a commit on A CPU"


def test_an_entry_keeps_where_and_when_it_was_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(reuse, "_code_and_machine", lambda: ("a" * 40, "A CPU"))
    monkeypatch.setattr(provenance, "now", lambda: OLD.first)
    first = Cache(tmp_path, refresh=False)
    first.get_or_compute({"a": 1}, lambda: 1)
    first.file({"a": 1}, ".bin", lambda path: path.write_bytes(b"x"))
    assert first.reuse == Reuse(0, 2)
    monkeypatch.setattr(reuse, "_code_and_machine", lambda: ("b" * 40, "another"))
    again = Cache(tmp_path, refresh=False)
    again.get_or_compute({"a": 1}, lambda: 1)
    again.file({"a": 1}, ".bin", lambda path: None)
    assert again.reuse == Reuse(2, 0, (Origin(OLD.first, OLD.first, "a" * 40, "A CPU"),))


def test_an_entry_without_an_origin_is_still_reused(tmp_path):
    Cache(tmp_path, refresh=False).get_or_compute({"a": 1}, lambda: 1)
    (path,) = tmp_path.glob("*/*.json")
    plain = json.loads(path.read_text())
    del plain["origin"]
    path.write_text(json.dumps(plain))
    again = Cache(tmp_path, refresh=False)
    assert again.get_or_compute({"a": 1}, lambda: 2) == 1
    assert again.reuse == Reuse(1, 0)


def test_it_is_kept_with_the_report(tmp_path, monkeypatch):
    monkeypatch.setenv(publish.REPORT_DIR, str(tmp_path))
    Reuse(30, 56, (OLD,)).save(tmp_path)
    publish.write_results([row()])
    assert results.load(tmp_path / "results.json").reuse == Reuse(30, 56, (OLD,))
    assert load_reuse(tmp_path) == Reuse(30, 56, (OLD,))


def test_results_without_it_can_be_read(tmp_path):
    made().save(tmp_path / "results.json")
    assert "reuse" not in json.loads((tmp_path / "results.json").read_text())
    assert results.load(tmp_path / "results.json").reuse is None


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"reused": 1}', '{"reused": 1, "computed": 1, "origins": [{}]}']
)
def test_damaged_file_is_refused(tmp_path, damage):
    (tmp_path / reuse.FILE).write_text(damage)
    with pytest.raises(DataError, match="damaged"):
        load_reuse(tmp_path)


def test_page_and_readme_say_it(tmp_path):
    assert str(Reuse(30, 56, (OLD,))) == WORDS
    notebook = nbformat.read(write_notebook(tmp_path / "a.ipynb"), as_version=4)
    assert WORDS in page.render(notebook, "t", origin(), reuse=Reuse(30, 56, (OLD,)))
    found = dataclasses.replace(made(), reuse=Reuse(30, 56, (OLD,)))
    assert f"1 minutes for this study alone; {WORDS}." in readme.headline(found, "make it")
    fresh = dataclasses.replace(made(), reuse=Reuse(0, 86))
    assert "reused" not in readme.headline(fresh, "make it")
