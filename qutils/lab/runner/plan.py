"""What is about to be run, checked in full before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qutils.errors import DataError, InvalidInputError
from qutils.files import ROOT
from qutils.lab.results import results
from qutils.lab.results.provenance import json_safe
from qutils.lab.runner import staging
from qutils.lab.runner.parameters import Parameter, read_notebook, read_parameters, resolve

REPORTS = "QUTILS_REPORTS"
#: Ends the folder of a run with parameters of its own: it stands beside the others, not for them.
CUSTOM = "-custom"


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

    @property
    def failed(self) -> Path:
        """Where the executed notebook alone goes if it fails."""
        return self.destination.with_suffix(".failed.ipynb")


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
    ``reports/<name>-<profile>``, and a run in which another parameter differs from its default to
    ``reports/<name>-custom``.

    Raises:
        InvalidInputError: unknown or mistyped parameter, a value that is not allowed, or no place
            to write to.
    """
    notebook = Path(notebook).resolve()
    declared = read_parameters(notebook)
    values = resolve(declared, parameters or {})
    if destination is None:
        destination = reports_dir() / f"{notebook.stem}{_suffix(declared, values)}"
    title = _title(read_notebook(notebook), notebook)
    made = Plan(notebook, Path(destination).resolve(), values, title, refresh)
    if made.bare:
        _spare_notebooks(made)
        staging.probe_write(made.destination.parent)
    else:
        staging.check_destination(made.destination)
        _spare_full_results(made, declared)
    return made


def _suffix(declared: Sequence[Parameter], values: Mapping[str, object]) -> str:
    if not _as_declared(declared, values):
        return CUSTOM
    profile = values.get("profile")
    return f"-{profile}" if isinstance(profile, str) and profile != "full" else ""


def _as_declared(declared: Sequence[Parameter], values: Mapping[str, object]) -> bool:
    """Whether every value but the profile is the default; one that is not told counts as such."""
    return all(
        json_safe(values.get(parameter.name, parameter.default)) == json_safe(parameter.default)
        for parameter in declared
        if parameter.name != "profile"
    )


def _spare_full_results(made: Plan, declared: Sequence[Parameter]) -> None:
    """A shorter run, or one of other settings, may not replace the ``full`` results."""
    path = made.destination / "results.json"
    own = _as_declared(declared, made.parameters)
    if not path.is_file() or made.profile is None or (made.profile == "full" and own):
        return
    try:
        earlier = results.load(path).provenance
    except DataError:
        return  # damaged results are there to be replaced
    if earlier.profile == "full" and _as_declared(declared, earlier.parameters):
        what = f"a {made.profile!r} run" if own else "a run with parameters of its own"
        raise InvalidInputError(
            f"{made.destination} holds 'full' results, which {what} may not "
            "replace; leave OUT away or name another folder"
        )


def _spare_notebooks(made: Plan) -> None:
    """An executed notebook may replace an executed one, never a notebook that someone wrote."""
    written = (ROOT / "notebooks").resolve()
    for path in (made.destination, made.failed):
        if not path.exists():
            continue
        if path.samefile(made.notebook):
            raise InvalidInputError(
                f"{path} is the notebook itself, which its executed form may not replace; name "
                "another file"
            )
        if path.is_relative_to(written) or not _is_executed(path):
            raise InvalidInputError(
                f"{path} is no output of an earlier run and may not be replaced; name another file"
            )


def _is_executed(path: Path) -> bool:
    """Whether papermill wrote the notebook."""
    try:
        return "papermill" in read_notebook(path).metadata
    except InvalidInputError:
        return False


def _title(notebook: Any, path: Path) -> str:
    """First heading of the notebook, else its file name."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("# "):
                    return str(line[2:].strip())
    return path.stem.replace("_", " ")
