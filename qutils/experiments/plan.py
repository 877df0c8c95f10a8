"""What is about to be run, checked in full before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qutils.errors import DataError, InvalidInputError
from qutils.experiments import results, staging
from qutils.experiments.parameters import read_notebook, read_parameters, resolve
from qutils.files import ROOT

REPORTS = "QUTILS_REPORTS"


@dataclass(frozen=True)
class Plan:
    """A run whose notebook, values and destination are known to be good."""

    notebook: Path
    destination: Path
    parameters: Mapping[str, object]
    title: str
    refresh: bool

    @property
    def profile(self) -> str | None:
        """Value of the notebook's ``profile`` parameter."""
        value = self.parameters.get("profile")
        return value if isinstance(value, str) else None

    @property
    def bare(self) -> bool:
        """Whether the executed notebook alone is wanted, not a report."""
        return self.destination.suffix == ".ipynb"


def reports_dir() -> Path:
    """``$QUTILS_REPORTS`` if set, else ``reports/`` of the checkout."""
    home = ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()
    return Path(os.environ.get(REPORTS) or home / "reports")


def plan(
    notebook: Path,
    destination: Path | None = None,
    parameters: Mapping[str, object] | None = None,
    refresh: bool = False,
) -> Plan:
    """Check notebook, parameters and destination without changing anything.

    Without a destination a ``full`` run goes to ``reports/<name>``, any other profile to
    ``reports/<name>-<profile>``.

    Raises:
        InvalidInputError: unknown or mistyped parameter, or no place to write to.
    """
    notebook = Path(notebook).resolve()
    values = resolve(read_parameters(notebook), parameters or {})
    profile = values.get("profile")
    if destination is None:
        suffix = f"-{profile}" if isinstance(profile, str) and profile != "full" else ""
        destination = reports_dir() / f"{notebook.stem}{suffix}"
    title = _title(read_notebook(notebook), notebook)
    made = Plan(notebook, Path(destination).resolve(), values, title, refresh)
    if made.bare:
        staging.probe_write(made.destination.parent)
    else:
        staging.check_destination(made.destination)
        _spare_full_results(made)
    return made


def _spare_full_results(made: Plan) -> None:
    """A shorter run may not replace the ``full`` results."""
    path = made.destination / "results.json"
    if not path.is_file() or made.profile in (None, "full"):
        return
    try:
        earlier = results.load(path).provenance.profile
    except DataError:
        return  # damaged results are there to be replaced
    if earlier == "full":
        raise InvalidInputError(
            f"{made.destination} holds 'full' results, which a {made.profile!r} run may not "
            "replace; leave OUT away or name another folder"
        )


def _title(notebook: Any, path: Path) -> str:
    """First heading of the notebook, else its file name."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("# "):
                    return str(line[2:].strip())
    return path.stem.replace("_", " ")
