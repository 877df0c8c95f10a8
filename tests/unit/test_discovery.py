"""Records are found in whatever modules a package has, in the order of their ranks."""

from __future__ import annotations

import sys

import pytest

from qutils.discovery import Discovered, DiscoveredNames

RECORD = """
from types import SimpleNamespace
RECORD = SimpleNamespace(name={name!r}, rank={rank})
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package ``found_here`` and a function that adds a module to it."""
    folder = tmp_path / "found_here"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "without.py").write_text("OTHER = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(module, name, rank):
        (folder / f"{module}.py").write_text(RECORD.format(name=name, rank=rank))

    yield add
    for name in [name for name in sys.modules if name.partition(".")[0] == "found_here"]:
        del sys.modules[name]


def test_records_are_in_the_order_of_their_ranks_and_names(package):
    for module, name, rank in (("a", "late", 2), ("b", "early", 1), ("c", "also early", 1)):
        package(module, name, rank)
    found = Discovered("found_here", "RECORD", lambda record: record.rank)
    assert dict(found) == {"also early": 1, "early": 1, "late": 2}
    assert [*found] == ["also early", "early", "late"]
    assert (len(found), "late" in found, "later" in found) == (3, True, False)


def test_nothing_is_imported_before_the_first_question(package):
    found = Discovered("found_here", "RECORD")
    assert "found_here" not in sys.modules
    assert not found


def test_two_records_of_one_name_are_refused(package):
    package("a", "same", 1)
    package("b", "same", 2)
    with pytest.raises(ValueError, match="found_here have one name"):
        Discovered("found_here", "RECORD")["same"]


def test_a_module_answers_for_its_record_without_being_imported(package):
    package("early", "early", 1)
    package("b", "odd name", 2)
    names = DiscoveredNames("found_here", "RECORD")
    assert "early" in names
    assert "found_here.early" not in sys.modules
    assert "odd name" in names  # no file is called so: the records are asked
    assert not any(name in names for name in ("without", "b", "later", "", 3))
    assert ([*names], len(names)) == (["early", "odd name"], 2)
