"""How the last run of a report went: ``status.json`` in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from qutils.errors import DataError
from qutils.files import write_text
from qutils.lab.results.provenance import json_safe
from qutils.reading import read_json, reading, typed

FILE = "status.json"
#: What to do about a damaged file of a report.
RERUN = "Run its notebook again"
SCHEMA = 1


@dataclass(frozen=True)
class Status:
    """Outcome of one run; ``files`` are the top-level names that it published.

    ``message`` tells the cause of a failure in one line and is empty otherwise.
    """

    outcome: Literal["ok", "failed"]
    title: str
    notebook: str
    profile: str | None
    parameters: Mapping[str, object]
    started: str
    seconds: float
    commit: str | None
    dirty: bool | None
    exit_code: int
    message: str = ""
    files: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write ``status.json`` into ``folder`` atomically."""
        plain = {"schema": SCHEMA, **json_safe(asdict(self))}
        write_text(folder / FILE, json.dumps(plain, indent=1, allow_nan=False) + "\n")


def load_status(folder: Path) -> Status | None:
    """Status of the report in ``folder``; ``None`` if no run left one.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    with reading(path, RERUN, "damaged"):
        plain = read_json(path, RERUN, "damaged")
        status: Status = typed(Status, {f.name: plain[f.name] for f in fields(Status)})
        return status


def readable_status(folder: Path) -> Status | None:
    """The same for a run that is about to replace it; a damaged one counts as none."""
    try:
        return load_status(folder)
    except DataError:
        return None
