"""Making every report there is: all notebooks of ``notebooks/reports``, then the overview."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from qutils.errors import InvalidInputError
from qutils.files import ROOT
from qutils.lab.results import gallery, readme, results
from qutils.lab.results.formats import duration
from qutils.lab.results.reuse import load_reuse
from qutils.lab.runner import forecast
from qutils.lab.runner.parameters import read_notebook, read_parameters
from qutils.lab.runner.plan import plan, reports_dir
from qutils.lab.runner.runner import Run, run_notebook
from qutils.lab.runner.status import load_status


@dataclass(frozen=True)
class Overview:
    """What came of making all reports; ``exit_code`` is 0 if all went well, else the worst."""

    runs: Mapping[str, Run]
    index: Path
    skipped: Mapping[str, str] = field(default_factory=dict)  # name -> why

    @property
    def exit_code(self) -> int:
        """0, 1 if a notebook failed, 138 if a kernel died."""
        return max((run.exit_code for run in self.runs.values()), default=0)


def report_notebooks(folder: Path | None = None) -> tuple[Path, ...]:
    """Notebooks that make a report, sorted by name.

    Raises:
        InvalidInputError: there are none.
    """
    folder = Path(folder or ROOT / "notebooks" / "reports")
    found = tuple(sorted(folder.glob("*.ipynb")))
    if not found:
        raise InvalidInputError(f"no report notebooks in {folder}; run this from a checkout")
    return found


def make_reports(
    parameters: Mapping[str, object], *, folder: Path | None = None, refresh: bool = False
) -> Overview:
    """Run every report notebook with ``parameters`` and rebuild the overview.

    A parameter goes to the notebooks that have it; one that none has is refused. A failed
    notebook is shown in the overview and does not keep the others from running.

    Raises:
        InvalidInputError: before anything runs: unknown or mistyped parameter, no place to write.
    """
    notebooks = report_notebooks(folder)
    given = shared_out(parameters, notebooks)
    for path in notebooks:
        plan(path, None, given[path])
    made = {path: given[path] for path in notebooks if not lacking(path)}
    if announced := forecast.forecast(made):
        print(announced, file=sys.stderr, flush=True)
    runs: dict[str, Run] = {}
    skipped: dict[str, str] = {}
    for number, path in enumerate(notebooks, 1):
        print(f"[{number}/{len(notebooks)}] {path.name}", file=sys.stderr, flush=True)
        if why := lacking(path):
            skipped[path.stem] = why
        else:
            runs[path.stem] = run_notebook(path, None, given[path], refresh=refresh)
    return Overview(runs, rebuild(), skipped)


def lacking(notebook: Path) -> str:
    """Why a report cannot be made here: optional packages that its notebook names in its metadata.

    ``{"qutils": {"needs": ["ultralytics"], "install": "make detection"}}``; empty if all are here.
    """
    about = read_notebook(notebook).metadata.get("qutils", {})
    missing = [name for name in about.get("needs", []) if find_spec(name) is None]
    if not missing:
        return ""
    return f"{', '.join(missing)} not installed ({about.get('install', 'pip install')})"


def outcome(name: str, run: Run) -> str:
    """What a reader wants to know of a finished run, in two lines: how it went, what to open.

    ``ptq_vs_qat: ok in 12 min 5 s, 106 of 106 results reused, 14 of 14 targets reached``
    """
    if run.exit_code:
        return f"{name} failed: {run.message}\n  {run.shown}"
    folder, parts = run.shown.parent, ["ok"]
    if status := load_status(folder):
        parts[0] += f" in {duration(status.seconds)}"
    if reuse := load_reuse(folder):
        parts.append(str(reuse))
    if (folder / "results.json").is_file():
        found = results.load(folder / "results.json")
        parts += [] if reuse else ["all measured anew"]
        parts += [f"{found.passed} of {found.targets} targets reached"] if found.targets else []
    return f"{name}: {', '.join(parts)}\n  {run.shown}"


def rebuild() -> Path:
    """Write the overview anew and, from the committed results, the table of the README."""
    page = gallery.build(reports_dir())
    if reports_dir() == ROOT / "reports":
        readme.update(ROOT / "README.md", reports_dir() / "ptq_vs_qat" / "results.json")
    return page


def shared_out(
    parameters: Mapping[str, object], notebooks: Sequence[Path]
) -> dict[Path, dict[str, object]]:
    """The parameters that each notebook has; a lone notebook is given all, so as to refuse.

    Raises:
        InvalidInputError: none of the notebooks has a parameter of that name.
    """
    given = {path: _own(path, parameters, len(notebooks)) for path in notebooks}
    unused = set(parameters).difference(*given.values())
    if unused:
        raise InvalidInputError(f"no notebook has a parameter {', '.join(sorted(unused))}")
    return given


def _own(notebook: Path, parameters: Mapping[str, object], count: int) -> dict[str, object]:
    """The parameters that this notebook has; a lone notebook is given all, so as to refuse."""
    if count == 1:
        return dict(parameters)
    names = {parameter.name for parameter in read_parameters(notebook)}
    return {name: value for name, value in parameters.items() if name in names}
