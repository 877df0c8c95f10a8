"""The headline table of the project's README, written from the committed ``full`` results."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import mean

from qutils.files import write_text
from qutils.lab.results import results
from qutils.lab.results.headlines import HEADLINES, Headline
from qutils.lab.results.results import Results, Row

BEGIN = "<!-- headline: written by `qutils report` from reports/ptq_vs_qat/results.json -->"
END = "<!-- /headline -->"
_BLOCK = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)


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
    for setting in HEADLINES:
        cells = [_cell(_matching(found.rows, model, setting)) for model in models]
        if any(cell != "–" for cell in cells):
            lines.append(f"| {setting.label} | {' | '.join(cells)} | {setting.execution} |")
    made = found.provenance
    reused = f"; {found.reuse}" if found.reuse and found.reuse.reused else ""
    lines += [
        "",
        f"Regenerate with `{command}`; measured {made.started[:10]} on {made.cpu}, "
        f"{made.seconds / 60:.0f} minutes for this study alone{reused}.",
    ]
    return "\n".join(lines)


def _matching(rows: tuple[Row, ...], model: str, setting: Headline) -> list[float]:
    """Top-1 over seeds of a setting; its own observer, or else the one with most seeds."""
    wanted = (setting.method, *setting.bits, setting.granularity, setting.execution)
    by_observer: dict[str | None, list[float]] = {}
    for row in rows:
        bits = (row.weight_bits, row.activation_bits)
        found = (row.method, *bits, row.granularity, row.execution)
        if row.model == model and found == wanted and row.top1 is not None:
            by_observer.setdefault(row.observer, []).append(row.top1)
    if not by_observer:
        return []
    if setting.observer is not None:
        return by_observer.get(setting.observer, [])
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
