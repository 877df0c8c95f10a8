"""What a report measured: ``results.json``, schema 1, validated on write and on read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from qutils.errors import DataError, InvalidInputError
from qutils.files import write_text
from qutils.lab.results.provenance import Provenance
from qutils.lab.results.reuse import Reuse
from qutils.lab.runner.status import RERUN
from qutils.numerics.schemes import GRANULARITIES
from qutils.reading import cause, read_json

SCHEMA = 1
METHOD = re.compile(r"fp32|(ptq|qat)(-[a-z0-9]+)*")
EXECUTIONS = ("float", "simulated", "integer")
OF_CHECKS = (*EXECUTIONS, "measured")
Comparison = Literal["<=", ">="]
_METRIC_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Row:
    """One measured configuration; what was not measured is ``None``.

    ``top1`` is in percent of ``top1_n`` pictures, ``size_bytes`` in bytes, latencies in
    milliseconds with ``threads`` threads. Other metrics (``map50_95``, ``sqnr_db``) go into
    ``metrics`` and stand under their own names in the file.

    Raises:
        InvalidInputError: a value outside the vocabulary, out of range, or not finite.
    """

    model: str
    dataset: str
    method: str
    weight_bits: int | None
    activation_bits: int | None
    observer: str | None
    granularity: str | None
    seed: int | None
    execution: str
    runtime: str
    top1: float | None = None
    top1_n: int | None = None
    size_bytes: int | None = None
    latency_ms_median: float | None = None
    latency_ms_iqr: float | None = None
    threads: int | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("model", "dataset", "execution", "runtime"):
            _require(self, name, isinstance(v := getattr(self, name), str) and v, "a name")
        good = isinstance(self.method, str) and METHOD.fullmatch(self.method)
        _require(self, "method", good, "fp32, ptq..., or qat...")
        _require(self, "granularity", self.granularity in (None, *GRANULARITIES), GRANULARITIES)
        _require(self, "execution", self.execution in EXECUTIONS, EXECUTIONS)
        _require(self, "observer", self.observer is None or self.observer, "a name or null")
        for name, low, high in _RANGES:
            _check_number(self, name, getattr(self, name), low, high)
        for name in _INTEGERS:
            _require(self, name, isinstance(getattr(self, name), int | None), "a whole number")
        if self.top1 is not None:
            _require(self, "top1_n", self.top1_n is not None, "how many pictures top1 is of")
        for name, value in self.metrics.items():
            own = isinstance(name, str) and _METRIC_NAME.fullmatch(name) and name not in COLUMNS
            _require(self, name, own, "a metric name like map50_95 that is no column's")
            _check_number(self, name, value, -math.inf, math.inf)

    def to_json(self) -> dict[str, object]:
        """The flat mapping that stands in ``results.json``."""
        plain = asdict(self)
        return {**{name: plain[name] for name in COLUMNS}, **self.metrics}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Row:
        """The row a mapping of ``results.json`` denotes; every column has to be there.

        Raises:
            InvalidInputError: a column is missing or holds a value of no use.
        """
        missing = [name for name in COLUMNS if name not in plain]
        if missing:
            raise InvalidInputError(f"row without {', '.join(missing)} (null if not measured)")
        columns = {name: plain[name] for name in COLUMNS}
        return cls(**columns, metrics={k: v for k, v in plain.items() if k not in COLUMNS})


#: Keys that every row of ``results.json`` has.
COLUMNS = tuple(f.name for f in fields(Row) if f.name != "metrics")
_RANGES = (
    ("weight_bits", 1, 64),
    ("activation_bits", 1, 64),
    ("seed", 0, math.inf),
    ("top1", 0, 100),
    ("top1_n", 1, math.inf),
    ("size_bytes", 0, math.inf),
    ("latency_ms_median", 0, math.inf),
    ("latency_ms_iqr", 0, math.inf),
    ("threads", 1, math.inf),
)
_INTEGERS = ("weight_bits", "activation_bits", "seed", "top1_n", "size_bytes", "threads")


@dataclass(frozen=True)
class Check:
    """A headline figure against what it has to reach: ``value comparison target`` in ``unit``.

    ``command`` regenerates it; ``passed`` follows from the other three. A figure that is shown
    whatever it is has neither target nor comparison, and ``passed`` is None. ``execution`` says
    what the figure is of: the float network, the simulated or the integer one, or something
    measured with a clock or a ruler; None in results of earlier versions.
    """

    name: str
    value: float
    unit: str
    target: float | None
    comparison: Comparison | None
    command: str
    note: str = ""
    execution: str | None = None

    def __post_init__(self) -> None:
        _require(self, "comparison", self.comparison in ("<=", ">=", None), ("<=", ">=", "null"))
        both = (self.target is None) == (self.comparison is None)
        _require(self, "target", both, "a number with a comparison, or null without one")
        for name in ("name", "unit", "command", "note"):
            _require(self, name, isinstance(getattr(self, name), str), "text")
        _require(self, "value", self.value is not None, "a number")
        _require(self, "execution", self.execution in (None, *OF_CHECKS), OF_CHECKS)
        for name in ("value", "target"):
            _check_number(self, name, getattr(self, name), -math.inf, math.inf)

    @property
    def passed(self) -> bool | None:
        """Whether the value reaches the target; None without one."""
        if self.target is None:
            return None
        if self.comparison == "<=":
            return self.value <= self.target
        return self.value >= self.target

    def to_json(self) -> dict[str, object]:
        """The mapping that stands in ``results.json``."""
        return {**asdict(self), "passed": self.passed}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Check:
        """The check that a mapping of ``results.json`` denotes."""
        names = {f.name for f in fields(cls)}
        unknown = set(plain) - names - {"passed"}
        missing = names - {"note", "execution"} - set(plain)
        if unknown or missing:
            raise InvalidInputError(f"check with unknown {unknown} or missing {missing} keys")
        check = cls(**{k: v for k, v in plain.items() if k in names})
        if plain.get("passed", check.passed) is not check.passed:
            raise InvalidInputError(
                f"check {check.name!r} says passed={plain['passed']}; it is not"
            )
        name, unit = current_name(check.name, check.unit)
        return replace(check, name=name, unit=unit)

    def unjudged(self) -> Check:
        """The same figure without its target."""
        return replace(self, target=None, comparison=None)


def current_name(name: str, unit: str) -> tuple[str, str]:
    """Name and unit of a headline figure, as they are now, from a file of an earlier version.

    >>> current_name("resnet8: W4A4 QAT, points lost", "points")
    ('resnet8: W4A4 QAT', 'points lost')
    """
    if unit == "points" and name.endswith(", points lost"):
        return name.removesuffix(", points lost"), "points lost"
    if unit.startswith("minutes, "):  # with the cores of some machine
        return name, "minutes"
    return name, unit


@dataclass(frozen=True)
class Results:
    """Everything one run measured, and what it ran on.

    ``reuse`` says how much of it an earlier run computed, when, and by which code; None where
    nothing is kept between runs.
    """

    provenance: Provenance
    rows: tuple[Row, ...]
    checks: tuple[Check, ...] = ()
    reuse: Reuse | None = None

    @property
    def targets(self) -> int:
        """How many headline figures have a target."""
        return sum(check.target is not None for check in self.checks)

    @property
    def passed(self) -> int:
        """How many of them reach it."""
        return sum(check.passed is True for check in self.checks)

    def to_json(self) -> dict[str, object]:
        """The document that ``results.json`` holds."""
        document: dict[str, object] = {
            "schema": SCHEMA,
            "provenance": self.provenance.to_json(),
            "rows": [row.to_json() for row in self.rows],
        }
        if self.checks:
            document["checks"] = [check.to_json() for check in self.checks]
        if self.reuse:
            document["reuse"] = asdict(self.reuse)
        return document

    def save(self, path: Path) -> None:
        """Write ``path`` atomically."""
        write_text(path, json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n")


def load(path: Path) -> Results:
    """Read and validate a results file.

    Raises:
        DataError: missing, not JSON, of another schema, or with an invalid row (named).
    """
    path = Path(path)
    document = read_json(path, RERUN)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise DataError(f"{path} is not a results file of schema {SCHEMA}. Run its notebook again.")
    reuse = [document["reuse"]] if document.get("reuse") else []
    return Results(
        _part(path, "provenance", Provenance.from_json, [document.get("provenance")])[0],
        tuple(_part(path, "rows", Row.from_json, document.get("rows"))),
        tuple(_part(path, "checks", Check.from_json, document.get("checks", []))),
        next(iter(_part(path, "reuse", Reuse.from_json, reuse)), None),
    )


def _part(path: Path, name: str, read: Any, items: Sequence[Any] | None) -> list[Any]:
    if not isinstance(items, list):
        raise DataError(f"{path}: {name!r} is missing")
    found = []
    for place, item in enumerate(items):
        try:
            found.append(read(item))
        except Exception as error:  # whatever values of other types raise
            raise DataError(f"{path}: {name}[{place}]: {cause(error)}") from error
    return found


def _require(owner: object, name: str, good: object, wanted: object) -> None:
    if not good:
        shown = ", ".join(wanted) if isinstance(wanted, tuple) else wanted
        value = getattr(owner, name, None)
        raise InvalidInputError(
            f"{type(owner).__name__.lower()}: {name} is {value!r}; it must be {shown}"
        )


def _check_number(owner: object, name: str, value: object, low: float, high: float) -> None:
    """A finite number within ``low..high``, or ``None`` for what was not measured."""
    if value is None:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and low <= value <= high):  # type: ignore[arg-type,operator]
        wanted = "a finite number"
        if not (math.isinf(low) and math.isinf(high)):
            wanted += f" in {low:g}..{high:g}"
        raise InvalidInputError(
            f"{type(owner).__name__.lower()}: {name} is {value!r}; it must be {wanted}"
        )
