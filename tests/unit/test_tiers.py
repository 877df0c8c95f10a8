"""What each tier of the tests leaves out, and that it says why."""

from __future__ import annotations

import pytest

from tests import conftest


class Item:
    """What the selection reads of a test, and what it adds."""

    nodeid = "tests/unit/test_x.py::test_y"

    def __init__(self, *marks: pytest.MarkDecorator) -> None:
        self.marks, self.added = [mark.mark for mark in marks], []

    def iter_markers(self, name: str) -> list[pytest.Mark]:
        return [mark for mark in self.marks if mark.name == name]

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self.added.append(mark.kwargs["reason"])


@pytest.mark.parametrize(
    ("core", "nightly", "marks", "reasons"),
    [
        (True, False, [], []),
        (True, False, [pytest.mark.slow(reason="trains")], ["left to .ci/run: trains"]),
        (True, False, [pytest.mark.browser], ["left to .ci/run: drives a real browser"]),
        (False, False, [pytest.mark.slow(reason="trains"), pytest.mark.browser], []),
        (False, False, [pytest.mark.nightly(reason="twin")], ["nightly (QUTILS_NIGHTLY=1): twin"]),
        (False, True, [pytest.mark.nightly(reason="twin"), pytest.mark.slow], []),
    ],
)
def test_what_is_left_out_says_why(monkeypatch, core, nightly, marks, reasons):
    monkeypatch.setattr(conftest, "CORE", core)
    monkeypatch.setattr(conftest, "NIGHTLY", nightly)
    item = Item(*marks)
    conftest.pytest_collection_modifyitems([item])
    assert item.added == reasons
