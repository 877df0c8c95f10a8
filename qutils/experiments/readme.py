"""The headline table of the project's README, written from the committed ``full`` results."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import mean

from qutils.experiments import results
from qutils.experiments.results import Results, Row
from qutils.files import write_text

BEGIN = "<!-- headline: written by `qutils report` from reports/ptq_vs_qat/results.json -->"
END = "<!-- /headline -->"
_BLOCK = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)

#: Line of the table: label, method, weight bits, activation bits, granularity, execution.
LINES: tuple[tuple[str, str, int, int, str | None, str], ...] = (
    ("FP32", "fp32", 32, 32, None, "float"),
    ("W8A8 PTQ, per channel", "ptq", 8, 8, "per_channel", "integer"),
    ("W8A8 PTQ, per tensor minmax", "ptq", 8, 8, "per_tensor", "integer"),
    ("W8A8 QAT", "qat", 8, 8, "per_channel", "integer"),
    ("W4A4 PTQ", "ptq", 4, 4, "per_channel", "simulated"),
    ("W4A4 QAT", "qat", 4, 4, "per_channel", "simulated"),
    ("W2A8 PTQ", "ptq", 2, 8, "per_channel", "simulated"),
    ("W2A8 QAT", "qat", 2, 8, "per_channel", "simulated"),
)


def headline(found: Results, command: str) -> str:
    """The table as markdown: top-1 [%] of each model, mean and range over seeds, and how it ran."""
    models = list(dict.fromkeys(row.model for row in found.rows))
    n = max(row.top1_n or 0 for row in found.rows)
    lines = [
        f"Top-1 accuracy [%] on {n:,} test pictures, mean (lowest to highest seed):",
        "",
        "| | " + " | ".join(models) + " | execution |",
        "|---|" + "---|" * len(models) + "---|",
    ]
    for line in LINES:
        label, execution = line[0], line[-1]
        cells = [_cell(_matching(found.rows, model, line)) for model in models]
        if any(cell != "–" for cell in cells):
            lines.append(f"| {label} | " + " | ".join(cells) + f" | {execution} |")
    made = found.provenance
    lines += [
        "",
        f"Regenerate with `{command}`; measured {made.started[:10]} on {made.cpu}, "
        f"{made.seconds / 60:.0f} minutes.",
    ]
    return "\n".join(lines)


def _matching(
    rows: tuple[Row, ...], model: str, line: tuple[str, str, int, int, str | None, str]
) -> list[float]:
    """Top-1 over seeds of one line; of several observers the one with most seeds, or minmax."""
    by_observer: dict[str | None, list[float]] = {}
    for row in rows:
        bits = (row.weight_bits, row.activation_bits)
        setting = (row.method, *bits, row.granularity, row.execution)
        if row.model == model and setting == line[1:] and row.top1 is not None:
            by_observer.setdefault(row.observer, []).append(row.top1)
    if not by_observer:
        return []
    if "minmax" in line[0]:
        return by_observer.get("minmax", [])
    return max(by_observer.values(), key=len)


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def update(readme: Path, results_file: Path) -> bool:
    """Rewrite the headline block; False if there is no block or no ``full`` result."""
    if not readme.is_file() or not results_file.is_file():
        return False
    text = readme.read_text(encoding="utf-8")
    found = results.load(results_file)
    if not _BLOCK.search(text) or found.provenance.profile != "full":
        return False
    block = f"{BEGIN}\n{headline(found, 'make report PROFILE=full')}\n{END}"
    new = _BLOCK.sub(lambda _: block, text)
    if new != text:
        write_text(readme, new)
    return True
