"""Making every report there is: all notebooks of ``notebooks/reports``, then the overview."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qutils.errors import InvalidInputError
from qutils.experiments import gallery, readme
from qutils.experiments.parameters import read_parameters
from qutils.experiments.plan import plan, reports_dir
from qutils.experiments.runner import Run, run_notebook
from qutils.files import ROOT


@dataclass(frozen=True)
class Overview:
    """What came of making all reports; ``exit_code`` is 0 if all went well, else the worst."""

    runs: Mapping[str, Run]
    index: Path

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
    given = {path: _own(path, parameters, len(notebooks)) for path in notebooks}
    for path in notebooks:
        plan(path, None, given[path])
    unused = set(parameters).difference(*given.values())
    if unused:
        raise InvalidInputError(f"no report has a parameter {', '.join(sorted(unused))}")
    runs = {path.stem: run_notebook(path, None, given[path], refresh=refresh) for path in notebooks}
    return Overview(runs, rebuild())


def rebuild() -> Path:
    """Write the overview anew and, from the committed results, the table of the README."""
    page = gallery.build(reports_dir())
    if reports_dir() == ROOT / "reports":
        readme.update(ROOT / "README.md", reports_dir() / "ptq_vs_qat" / "results.json")
    return page


def _own(notebook: Path, parameters: Mapping[str, object], count: int) -> dict[str, object]:
    """The parameters that this notebook has; a lone notebook is given all, so as to refuse."""
    if count == 1:
        return dict(parameters)
    names = {parameter.name for parameter in read_parameters(notebook)}
    return {name: value for name, value in parameters.items() if name in names}
