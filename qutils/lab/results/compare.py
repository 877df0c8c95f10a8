"""The difference between two results files, and which changes exceed the spread."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from qutils.errors import DataError
from qutils.files import write_text
from qutils.lab.results import results
from qutils.lab.results.results import Check, Results, Row
from qutils.lab.runner.status import RERUN
from qutils.reading import read_json, reading, typed

KEY = (
    "model",
    "dataset",
    "method",
    "weight_bits",
    "activation_bits",
    "observer",
    "granularity",
    "execution",
    "runtime",
    "threads",
)
#: Metric -> unit of its value and of its change.
METRICS = {"top1": "%", "size_bytes": "bytes", "latency_ms_median": "ms"}
_Z95 = 1.959964


@dataclass(frozen=True)
class Figure:
    """One metric of all rows with one key: mean over seeds, and its spread in the same unit.

    ``spread`` is the standard deviation over two or more seeds, the 95 % interval of a
    proportion for one seeded accuracy, the interquartile range for a latency.
    """

    mean: float
    spread: float


@dataclass(frozen=True)
class Change:
    """``after - before`` of one metric; ``beyond`` if it exceeds ``spread`` of the two together."""

    label: str
    metric: str
    unit: str
    before: float
    after: float
    spread: float

    @property
    def delta(self) -> float:
        """How much the metric rose, in ``unit``."""
        return self.after - self.before

    @property
    def beyond(self) -> bool:
        """Whether the change is more than spread explains; for sizes, any change."""
        return abs(self.delta) > self.spread + 1e-9


@dataclass(frozen=True)
class HeadlineChange:
    """A headline figure of both runs, in ``unit``; its spread is not known."""

    name: str
    unit: str
    before: float
    after: float

    @property
    def delta(self) -> float:
        """How much the figure rose, in ``unit``."""
        return self.after - self.before


@dataclass(frozen=True)
class Comparison:
    """Changes from one run (``started``, ``commit``, ``profile``) to another; what only one has.

    ``headlines`` are the headline figures that both have.
    """

    started: str
    commit: str | None
    profile: str | None
    changes: tuple[Change, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    headlines: tuple[HeadlineChange, ...] = ()

    @property
    def beyond(self) -> tuple[Change, ...]:
        """The changes that exceed the spread."""
        return tuple(change for change in self.changes if change.beyond)

    def save(self, path: Path) -> None:
        """Write ``changes.json`` atomically."""
        plain = asdict(self)
        plain["changes"] = [
            {**asdict(change), "delta": change.delta, "beyond": change.beyond}
            for change in self.changes
        ]
        write_text(path, json.dumps({"schema": 1, **plain}, indent=1, allow_nan=False) + "\n")


def load(path: Path) -> Comparison | None:
    """Comparison that ``save`` wrote, or ``None`` if there is none.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return None
    with reading(path, RERUN, "damaged"):
        plain = read_json(path, RERUN, "damaged")
        names = ("label", "metric", "unit", "before", "after", "spread")
        return Comparison(
            typed(str, plain["started"]),
            typed(str | None, plain["commit"]),
            typed(str | None, plain["profile"]),
            tuple(typed(Change, {name: item[name] for name in names}) for item in plain["changes"]),
            tuple(typed(str, label) for label in plain["added"]),
            tuple(typed(str, label) for label in plain["removed"]),
            tuple(_current(typed(HeadlineChange, one)) for one in plain.get("headlines", [])),
        )


def compare(before: Results, after: Results) -> Comparison:
    """Match rows on ``KEY`` (seeds are averaged), headline figures by name; take differences."""
    old, new = _grouped(before.rows), _grouped(after.rows)
    changes = [
        change
        for key in new
        if key in old
        for metric in METRICS
        if (change := _change(label(new[key][0]), metric, old[key], new[key])) is not None
    ]
    return Comparison(
        before.provenance.started,
        before.provenance.commit,
        before.provenance.profile,
        tuple(changes),
        added=tuple(label(new[key][0]) for key in new if key not in old),
        removed=tuple(label(old[key][0]) for key in old if key not in new),
        headlines=_headlines(before.checks, after.checks),
    )


def _headlines(before: Iterable[Check], after: Iterable[Check]) -> tuple[HeadlineChange, ...]:
    old = {(check.name, check.unit): check.value for check in before}
    return tuple(
        HeadlineChange(check.name, check.unit, old[check.name, check.unit], check.value)
        for check in after
        if (check.name, check.unit) in old
    )


def _current(one: HeadlineChange) -> HeadlineChange:
    return HeadlineChange(*results.current_name(one.name, one.unit), one.before, one.after)


def with_previous(folder: Path, after: Results) -> Comparison | None:
    """Comparison with the results that stand in ``folder``; ``None`` if none of use do."""
    path = folder / "results.json"
    if not path.is_file():
        return None
    try:
        return compare(results.load(path), after)
    except DataError:
        return None  # the damaged file is about to be replaced


def figure(rows: Iterable[Row], metric: str) -> Figure | None:
    """Mean and spread of a metric over rows that differ in seed; ``None`` if not measured."""
    measured = [row for row in rows if getattr(row, metric) is not None]
    if not measured:
        return None
    values = [float(getattr(row, metric)) for row in measured]
    mean = statistics.fmean(values)
    if metric == "latency_ms_median":
        return Figure(mean, statistics.fmean(row.latency_ms_iqr or 0.0 for row in measured))
    if len(values) > 1:
        return Figure(mean, statistics.stdev(values))
    return Figure(mean, proportion_interval(mean, measured[0].top1_n) if metric == "top1" else 0.0)


def proportion_interval(percent: float, count: int | None) -> float:
    """Half width of the 95 % interval, in points: ``1.96 sqrt(p (1 - p) / n)``.

    >>> round(proportion_interval(90.0, 10_000), 3)
    0.588
    """
    p = percent / 100
    return 100 * _Z95 * math.sqrt(p * (1 - p) / count) if count else 0.0


def label(row: Row) -> str:
    """The key of a row as people write it: ``resnet8 ptq W8A8 minmax per_channel ...``."""
    bits = "".join(
        f"{letter}{width}"
        for letter, width in (("W", row.weight_bits), ("A", row.activation_bits))
        if width is not None
    )
    parts = (row.model, row.method, bits, row.observer, row.granularity, row.execution, row.runtime)
    return " ".join(part for part in parts if part)


def _grouped(rows: Iterable[Row]) -> dict[tuple[object, ...], list[Row]]:
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(_key(row, name) for name in KEY), []).append(row)
    return groups


def _key(row: Row, name: str) -> object:
    """A simulated row that does not tell its threads had one, as every job has."""
    value: object = getattr(row, name)
    return 1 if name == "threads" and value is None and row.execution == "simulated" else value


def _change(name: str, metric: str, old: list[Row], new: list[Row]) -> Change | None:
    before, after = figure(old, metric), figure(new, metric)
    if before is None or after is None:
        return None
    spread = math.hypot(before.spread, after.spread)
    if metric == "top1" and {row.top1_n for row in old} != {row.top1_n for row in new}:
        pictures = [
            proportion_interval(f.mean, r[0].top1_n) for f, r in ((before, old), (after, new))
        ]
        spread = math.hypot(spread, *pictures)  # other pictures were scored
    return Change(name, metric, METRICS[metric], before.mean, after.mean, spread)
