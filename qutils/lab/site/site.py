"""The tutorial as a folder of pages: every notebook run, its sliders moving without a kernel."""

from __future__ import annotations

import io
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from qutils.errors import InvalidInputError, MissingPackageError
from qutils.files import ROOT
from qutils.lab.results import edition, provenance
from qutils.lab.results.edition import Chapter, Edition
from qutils.lab.results.formats import duration
from qutils.lab.results.reports import shared_out
from qutils.lab.runner import schedule, staging, worker
from qutils.lab.runner.launch import Launcher
from qutils.lab.runner.parameters import read_notebook, read_parameters
from qutils.lab.runner.plan import Plan, plan
from qutils.lab.runner.preloaded import launcher_for
from qutils.lab.runner.runner import Beside, Run, run_notebook
from qutils.lab.site.markup import last_lines, markdown

_LACKS = f"{MissingPackageError.__name__}: "
_QUESTION = re.compile(r"\*\*The question\.?\*\*\.?\s*(.+?)(?:\n\s*\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Site:
    """What came of building: the index to open, and a chapter for each notebook."""

    index: Path
    chapters: tuple[Chapter, ...]

    @property
    def exit_code(self) -> int:
        """0, or 1 if a notebook failed."""
        return int(any(chapter.failure for chapter in self.chapters))


def tutorial_notebooks(folder: Path | None = None) -> tuple[Path, ...]:
    """Notebooks of the tutorial in their order: ``notebooks/00_*.ipynb`` and on.

    Raises:
        InvalidInputError: there are none.
    """
    folder = Path(folder or ROOT / "notebooks")
    found = tuple(sorted(folder.glob("[0-9][0-9]_*.ipynb")))
    if not found:
        raise InvalidInputError(f"no tutorial notebooks in {folder}; run this from a checkout")
    return found


def build(
    destination: Path,
    parameters: Mapping[str, object],
    *,
    folder: Path | None = None,
    refresh: bool = False,
) -> Site:
    """Run every tutorial notebook and publish its page as soon as it has ended.

    Two notebooks run at a time, each on one thread, except those that measure time (see
    ``schedule``); in the profile ``smoke``, whose times mean nothing, these as well. A parameter
    goes to the notebooks that have it. A notebook that fails has a page with its traceback and does
    not keep the others from running. One that lacks an optional package has a page that says so,
    which is no failure.

    Raises:
        InvalidInputError: before anything runs: unknown or mistyped parameter, no place to write.
        KeyboardInterrupt: the user stopped it; pages that are done are published, the others are
            those of the earlier site.
    """
    notebooks = tutorial_notebooks(folder)
    given = shared_out(parameters, notebooks)
    plans = {path: plan(path, destination, given[path], refresh) for path in notebooks}
    made = _begin(Path(destination).resolve(), plans)
    with (
        tempfile.TemporaryDirectory(prefix="qutils-site-") as work,
        launcher_for(notebooks) as launcher,
    ):
        build = _Build(plans, given, Path(work), launcher, schedule.width_for(notebooks))
        known = {path: made.durations.get(edition.key(path)) for path in notebooks}
        seconds = {path: took for path, took in known.items() if took is not None}
        order = schedule.longest_first(notebooks, seconds)
        alone = [p for p in notebooks if schedule.measures_time(p) and plans[p].profile != "smoke"]
        ended = schedule.side_by_side(order, build.run, launcher.stop, alone)
        for path, (chapter, executed) in ended:
            chapter = made.publish(notebooks.index(path), chapter, executed)
            schedule.announce(f"{chapter.name}: {_outcome(chapter)}")
    made.close()
    return Site(Path(destination) / "index.html", tuple(made.chapters))


def _begin(folder: Path, plans: Mapping[Path, Plan]) -> Edition:
    chapters = [_chapter(made, read_notebook(path)) for path, made in plans.items()]
    changed = {name: value for each in chapters for name, value in each.parameters.items()}
    origin = provenance.collect(changed, provenance.now(), 0.0)
    profile = next(iter(plans.values())).profile
    staging.recover(folder)
    return Edition(folder, list(plans), chapters, replace(origin, profile=profile))


@dataclass(frozen=True)
class _Build:
    """What every notebook of a build is run with."""

    plans: Mapping[Path, Plan]
    given: Mapping[Path, Mapping[str, object]]
    work: Path
    launcher: Launcher
    width: int

    def run(self, path: Path) -> tuple[Chapter, Any]:
        """Run a notebook; return its chapter and what to show of it.

        What it prints would be mixed with what others print: it is shown if the notebook fails.
        """
        schedule.announce(f"{path.stem}: runs")
        made, log, began = self.plans[path], io.StringIO(), time.monotonic()
        threads = 1 if self.width > 1 else None
        run = run_notebook(
            path,
            self.work / path.name,
            self.given[path],
            refresh=made.refresh,
            explorers="frames",
            beside=Beside(self.launcher, threads, log),
        )
        seconds = time.monotonic() - began
        if run.exit_code != worker.OK and (text := last_lines(log.getvalue()).strip()):
            schedule.announce(text)
        executed = read_notebook(run.shown if run.shown.is_file() else path)
        failure, lacking = _cause(run)
        chapter = _chapter(made, executed)
        return replace(chapter, seconds=seconds, failure=failure, lacking=lacking), executed


def _chapter(made: Plan, notebook: Any) -> Chapter:
    defaults = {each.name: each.default for each in read_parameters(made.notebook)}
    changed = {name: v for name, v in made.parameters.items() if v != defaults[name]}
    return Chapter(made.notebook.stem, made.title, question(notebook), parameters=changed)


def _cause(run: Run) -> tuple[str, str]:
    """Why a notebook did not run to its end: it failed, or lacks an optional package."""
    if run.exit_code == worker.OK:
        return "", ""
    if run.message.startswith(_LACKS):
        return "", run.message.removeprefix(_LACKS)
    return run.message, ""


def _outcome(chapter: Chapter) -> str:
    """``done in 12 s``; of a failure, that it failed: its cause is told at the end."""
    did = "failed after" if chapter.failure else "done in"
    return f"{did} {duration(chapter.seconds)}"


def question(notebook: Any) -> Markup:
    """The question that a notebook asks: what follows ``**The question.**`` in its first cells."""
    for cell in notebook.cells[:3]:
        match = _QUESTION.search(cell.source) if cell.cell_type == "markdown" else None
        if match:
            return markdown(match[1])
    return Markup("")
