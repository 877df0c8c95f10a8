"""How long the project's own commands take, each really run: ``reports/timings.json``.

Machines differ by a factor of five: every duration is given in minutes and in multiples of the
reference workload (``qutils.evaluate.bench.reference``), which runs first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qutils.errors import InvalidInputError, QutilsError
from qutils.evaluate.bench.reference import Reference, reference_workload
from qutils.files import ROOT
from qutils.lab.results import cache, provenance, results
from qutils.lab.results.formats import duration
from qutils.lab.results.results import Check, Comparison, Results
from qutils.lab.results.reuse import Reuse, load_reuse, together
from qutils.lab.runner.plan import REPORTS

FILE = "timings.json"
COMMAND = "make timings"
FULL_MINUTES = 120.0
#: What a calling ``make`` hands down; the commands timed here have to be those a reader types.
_OF_MAKE = ("MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS", "PROFILE")


@dataclass(frozen=True)
class Step:
    """One command to time; ``minutes`` is how many it may take, None: as many as it takes."""

    name: str
    command: Sequence[str]
    minutes: float | None
    note: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def steps(scratch: Path) -> tuple[Step, ...]:
    """The report with nothing cached, the report again, the site, the tests.

    ``scratch`` takes reports and site. The minutes are those that a slow machine (two cores, AVX2)
    may take.
    """
    apart = {cache.FOLDER: str(scratch / "cache"), REPORTS: str(scratch / "reports")}
    make = ("make", "--no-print-directory", "-C", str(ROOT))
    report = (*make, "report")
    site = (*make, "site", "PROFILE=smoke", f"SITE={scratch / 'site'}")
    again = "latency, memory and training steps are measured anew"
    return (
        Step("make report, nothing cached", report, 8.0, "profile default", apart),
        Step("make report again, nothing changed", report, 2.0, again, apart),
        Step("make site PROFILE=smoke", site, 8.0),
        Step("make test", (*make, "test"), 10.0),
    )


def measure() -> Results:
    """Install what is missing, then run and time every step; the committed reports stay.

    Takes a quarter of an hour on two cores. Children's output goes to the terminal.

    Raises:
        InvalidInputError: there is no ``make``, or no checkout.
        QutilsError: a command failed; its time would mean nothing.
    """
    if shutil.which("make") is None or not (ROOT / "Makefile").is_file():
        raise InvalidInputError("timing needs make and a checkout with its Makefile")
    _call(("make", "--no-print-directory", "-C", str(ROOT), ".venv/.base", ".venv/.dev"), {})
    started, clock = provenance.now(), time.monotonic()
    reference = reference_workload()
    with tempfile.TemporaryDirectory(prefix="qutils-timings-") as name:
        checks = timed(steps(Path(name)), Path(name) / "reports", reference)
    origin = provenance.collect({"profile": "default"}, started, time.monotonic() - clock)
    return Results(origin, (), (of_reference(reference), *checks))


def of_reference(reference: Reference) -> Check:
    """The reference workload as a figure without a target."""
    seconds, note = round(reference.seconds, 1), str(reference)
    return Check("reference workload", seconds, "s", None, None, COMMAND, note, "measured")


def timed(planned: Sequence[Step], reports: Path, reference: Reference) -> list[Check]:
    """Run steps one after another; each becomes a figure in minutes, with its multiple in the note.

    A step with an environment of its own makes reports: its note says how much it reused.
    """
    found = []
    for step in planned:
        clock = time.monotonic()
        _call(step.command, step.environment)
        seconds = time.monotonic() - clock
        minutes = round(seconds / 60, 2)
        multiple = f"{seconds / reference.seconds:.1f} times the reference workload"
        notes = [multiple, step.note, *([_reused(reports)] if step.environment else [])]
        comparison: Comparison | None = None if step.minutes is None else "<="
        note = "; ".join(filter(None, notes))
        limit: tuple[float | None, Comparison | None] = (step.minutes, comparison)
        found.append(Check(step.name, minutes, "min", *limit, COMMAND, note, "measured"))
    return found


def _call(command: Sequence[str], environment: Mapping[str, str]) -> None:
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_MAKE}
    done = subprocess.run(command, env={**inherited, **environment}, check=False)
    if done.returncode:
        shown = " ".join(command)
        raise QutilsError(
            f"{shown} failed (exit code {done.returncode}): nothing was written. Mend what it "
            f"says, then run {COMMAND} again."
        )


def _reused(reports: Path) -> str:
    """How much all reports of a folder took from the cache."""
    found = [load_reuse(path.parent) for path in sorted(reports.glob("*/status.json"))]
    return str(together(reuse for reuse in found if reuse))


def of_full(seconds: Mapping[str, float], reuses: Sequence[Reuse]) -> tuple[Check, ...]:
    """The time of ``make report PROFILE=full`` as its reports give it, by name; () without any.

    A run that took results from the cache says so: it was shorter than a whole one.
    """
    if not seconds:
        return ()
    notes = [", ".join(f"{name} {duration(took)}" for name, took in seconds.items())]
    if any(reuse.reused for reuse in reuses):
        notes.append(f"not a whole run: {together(reuses)}")
    minutes = round(sum(seconds.values()) / 60, 2)
    command = "make report PROFILE=full"
    note = "; ".join(notes)
    return (Check(command, minutes, "min", FULL_MINUTES, "<=", command, note, "measured"),)


def load(folder: Path) -> Results | None:
    """Timings that stand in a reports folder; None if there are none.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / FILE
    return results.load(path) if path.is_file() else None
