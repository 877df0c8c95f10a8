from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from qutils.files import ROOT
from qutils.lab.site.formulas import mathml, unknown_commands
from qutils.lab.site.markup import markdown

NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
_INLINE, _BLOCK = r"(?<![\\$])\$([^$\n]+)\$", r"\$\$(.+?)\$\$"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_every_formula_of_a_notebook_can_be_drawn(path: Path) -> None:
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type != "markdown":
            continue
        prose = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.DOTALL)
        blocks = re.findall(_BLOCK, prose, flags=re.DOTALL)
        for latex in blocks + re.findall(_INLINE, re.sub(_BLOCK, "", prose, flags=re.DOTALL)):
            assert unknown_commands(latex) == (), latex
        assert "$" not in re.sub(r"<(code|pre).*?</\1>", "", markdown(cell.source), flags=re.DOTALL)


@pytest.mark.parametrize(
    ("latex", "part"),
    [
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "<mtable"),
        (r"\text{zero\_point}", "zero_point"),
        (r"x < y", "<mo>&#x0003C;</mo>"),
        (r"\hat{x}", "<mover"),
    ],
)
def test_formulas(latex: str, part: str) -> None:
    assert part in mathml(latex)


@pytest.mark.parametrize("block", [False, True])
def test_a_block_stands_by_itself(block: bool) -> None:
    assert f'display="{"block" if block else "inline"}"' in mathml("x", block)


def test_attributes_that_could_do_harm_are_dropped() -> None:
    made = mathml(r"\href{javascript:alert(1)}{x} \style{background:url(http://x)}{y} \class{a}{b}")
    assert not re.search(r"href|style=|class=|javascript|url", made)
