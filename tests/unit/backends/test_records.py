"""Everything that is said of a backend comes from its record."""

from __future__ import annotations

import tomllib

import pytest

from qutils.backends import BACKENDS
from qutils.backends.backend import late
from qutils.backends.shared.runtime import Runtime
from qutils.files import ROOT
from qutils.graph import TARGETS, target
from qutils.lab.figures import theme


@pytest.mark.parametrize("name", BACKENDS)
def test_the_parts_of_a_record_belong_together(name):
    backend = BACKENDS[name]
    assert backend.name == backend.target.name == name
    assert target(name) is backend.target
    assert backend.suffix.startswith(".")
    assert callable(late(backend.exporter))
    if backend.installed:
        assert issubclass(backend.get(), Runtime)
        assert backend.get().name == name
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not backend.extra or backend.extra in extras["optional-dependencies"]
    assert backend.install


def test_targets_are_those_of_the_backends():
    assert [*TARGETS] == [*BACKENDS]


def test_colors_and_marks_are_of_the_palette_and_differ():
    palette = (theme.BLACK, theme.ORANGE, theme.SKY, theme.GREEN, theme.BLUE, theme.PURPLE)
    assert sorted(backend.color for backend in BACKENDS.values()) == sorted(palette)
    assert len({backend.marker for backend in BACKENDS.values()}) == len(BACKENDS)


def test_the_table_of_the_readme_says_what_the_records_say():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    start = lines.index("| target | file | what runs it here | x86 without VNNI |") + 2
    rows = [line.strip("| ").split(" | ") for line in lines[start : start + len(BACKENDS)]]
    assert [row[:2] for row in rows] == [
        [f"`{name}`", f"`{backend.suffix}`"] for name, backend in BACKENDS.items()
    ]
    for row, backend in zip(rows, BACKENDS.values(), strict=True):
        assert (backend.label in row[2]) is not backend.gpu
        record, said = backend.target.pair_sums, row[3] if len(row) > 3 else ""
        assert said.startswith("saturates") is record.can_saturate
        assert ("weights are limited" in said) is record.needs_safe_weights
        assert (record.switch.partition("=")[0] in said) or not record.switch
