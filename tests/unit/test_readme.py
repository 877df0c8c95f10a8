"""The Python of the README runs as it is written, block after block."""

from __future__ import annotations

import re

import pytest
import torch

from qutils.files import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each block prints."""
    printed: list[list[str]] = []
    names = {"print": lambda *words: printed[-1].append(" ".join(map(str, words)))}
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("readme"))
        for block in BLOCKS:
            printed.append([])
            exec(compile(block, "README.md", "exec"), names)
    return dict(zip(BLOCKS, printed, strict=True))


def lines_of(said, part: str) -> list[str]:
    """What the block prints that holds this."""
    return next(lines for block, lines in said.items() if part in block)


def test_a_model_is_calibrated_exported_and_timed(said):
    coverage, ran, timed = lines_of(said, "q.bench.latency")
    assert coverage == "100.0% of the multiply-adds run in integer kernels."
    assert ran.startswith("(32, 10) Counter(")
    assert "threads 1" in timed


def test_the_layer_that_loses_most_is_named(said):
    (line,) = lines_of(said, "q.analysis.sensitivity")
    assert re.fullmatch(r"(input|[0-5]): \d\d\.\d dB", line)


def test_named_tensors_of_any_length(said):
    inputs, shape = lines_of(said, "class Tagger")
    assert inputs == "{'ids': ('N', 'words'), 'mask': ('N', 'words')}"
    assert shape == "(64, 7, 5)"
