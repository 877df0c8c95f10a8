"""Small notebooks, results and reports for the tests of the experiments and their commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from qutils.lab.results.provenance import Provenance
from qutils.lab.results.results import Check, Results, Row
from qutils.lab.runner.status import Status

PARAMETERS = """
from typing import Literal
profile: Literal["smoke", "default", "full"] = "default"  # how long it takes
bits: list[int] = [2, 4]  # 2..8, widths = many
rate: float = 0.5
"""
MEASURE = """
from matplotlib.figure import Figure
from qutils.lab.results import publish
from qutils.lab.results.results import Check, Row
fig = Figure(figsize=(3, 2))
fig.subplots().plot(bits, bits)
key = ("minmax", "per_channel")
rows = [
    Row("toy", "d", "ptq", b, 8, *key, seed, "simulated", "torch", 90.0 + rate * seed, 10)
    for b in bits for seed in (0, 1)
]
publish.write_results(rows, [Check("accuracy", 90.0, "%", 89.0, ">=", "make report")])
publish.save_figure(fig, "accuracy", "Accuracy against bits.")
"""


def write_notebook(path: Path, *cells: str, parameters: str | None = PARAMETERS) -> Path:
    """A notebook with a title, one tagged cell unless ``parameters`` is None, and code cells."""
    made = [new_markdown_cell(f"# Title of {path.stem}\n\nProse.")]
    if parameters is not None:
        made.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    made += [new_code_cell(cell) for cell in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=made), path)
    return path


def row(**values: object) -> Row:
    """A valid measured row with some values replaced."""
    plain = {
        "model": "toy",
        "dataset": "fashion_mnist",
        "method": "ptq",
        "weight_bits": 8,
        "activation_bits": 8,
        "observer": "minmax",
        "granularity": "per_channel",
        "seed": 0,
        "execution": "simulated",
        "runtime": "torch",
        "top1": 92.5,
        "top1_n": 10_000,
        "size_bytes": None,
        "latency_ms_median": None,
        "latency_ms_iqr": None,
        "threads": 1,
    }
    return Row.from_json(plain | values)


def origin(profile: str | None = "full", **values: object) -> Provenance:
    """Provenance of an imagined run."""
    plain = {
        "commit": "0123456789abcdef",
        "dirty": False,
        "packages": {"torch": "2.13.0"},
        "cpu": "A <fast> CPU",
        "isa": ["avx2"],
        "cores": 2,
        "threads": 1,
        "started": "2026-01-02T03:04:05Z",
        "seconds": 61.0,
        "parameters": {"bits": [2, 4]},
        "profile": profile,
        "python": "3.11.7",
        "platform": "Linux",
    }
    return Provenance.from_json(plain | values)


def results(*rows: Row, checks: tuple[Check, ...] = (), profile: str | None = "full") -> Results:
    """Results of an imagined run."""
    return Results(origin(profile), rows or (row(),), checks)


def ok(**values: object) -> Status:
    """Status of an imagined run, with some values replaced."""
    made = origin()
    return replace(
        Status("ok", "A report", "a.ipynb", "full", made.parameters, made.started, made.seconds,
               made.commit, made.dirty, 0),
        **values,
    )  # fmt: skip


def snapshot(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes of every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
