"""The tutorial as a folder of pages: every notebook run, its sliders moving without a kernel."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from qutils.errors import DataError, InvalidInputError, MissingPackageError
from qutils.experiments import page, provenance, staging, worker
from qutils.experiments.markup import markdown
from qutils.experiments.parameters import read_notebook, read_parameters
from qutils.experiments.plan import Plan, plan
from qutils.experiments.provenance import Provenance
from qutils.experiments.reports import shared_out
from qutils.experiments.runner import Run, run_notebook
from qutils.experiments.status import Status
from qutils.files import ROOT, write_text

#: Largest page [bytes]: it has to open quickly from a slow disk or a slow line.
PAGE_LIMIT = 3_000_000
_LACKS = f"{MissingPackageError.__name__}: "
_QUESTION = re.compile(r"\*\*The question\.?\*\*\.?\s*(.+?)(?:\n\s*\n|\Z)", re.DOTALL)
_TO_NOTEBOOK = re.compile(r'(<a href=")([0-9]{2}_\w+)\.ipynb((?:#[^"]*)?")')


@dataclass(frozen=True)
class Chapter:
    """One notebook of the tutorial on the site.

    ``failure`` is the cause if it failed, ``lacking`` the optional package for want of which it did
    not run to its end. ``parameters`` were given another value than the notebook declares.
    """

    name: str
    title: str
    question: Markup
    seconds: float = 0.0
    failure: str = ""
    lacking: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Its page, relative to the index."""
        return f"{self.name}.html"


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
    """Run every tutorial notebook and publish its page, all of them at once or none.

    A parameter goes to the notebooks that have it. A notebook that fails has a page with its
    traceback and does not keep the others from running. One that lacks an optional package has a
    page that says so, which is no failure.

    Raises:
        InvalidInputError: before anything runs: unknown or mistyped parameter, no place to write.
        DataError: a page is heavier than ``PAGE_LIMIT``; the earlier site is intact.
        KeyboardInterrupt: the user stopped it; the earlier site is intact.
    """
    notebooks = tutorial_notebooks(folder)
    given = shared_out(parameters, notebooks)
    plans = [plan(path, destination, given[path]) for path in notebooks]
    started, clock = provenance.now(), time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="qutils-site-") as work,
        staging.staging(Path(destination).resolve()) as pages,
    ):
        made: list[tuple[Chapter, Any]] = []
        for place, ready in enumerate(plans, 1):
            print(f"{ready.notebook.stem} ({place} of {len(plans)})", file=sys.stderr)
            target = Path(work) / ready.notebook.name
            began = time.monotonic()
            run = run_notebook(
                ready.notebook, target, given[ready.notebook], refresh=refresh, explorers="frames"
            )
            made.append(_chapter(ready, run, time.monotonic() - began))
        chapters = tuple(chapter for chapter, _ in made)
        changed = {name: value for each in chapters for name, value in each.parameters.items()}
        origin = provenance.collect(changed, started, time.monotonic() - clock)
        origin = replace(origin, profile=plans[0].profile)
        _write(pages, chapters, [notebook for _, notebook in made], origin)
        _status(chapters, origin, pages).save(pages)
        staging.publish(pages, Path(destination).resolve())
    return Site(Path(destination) / "index.html", chapters)


def _chapter(made: Plan, run: Run, seconds: float) -> tuple[Chapter, Any]:
    """The chapter and the notebook to show: the executed one, also if it failed half-way."""
    executed = read_notebook(run.shown if run.shown.is_file() else made.notebook)
    failure, lacking = ("", "") if run.exit_code == worker.OK else (run.message, "")
    if failure.startswith(_LACKS):
        failure, lacking = "", failure.removeprefix(_LACKS)
    defaults = {each.name: each.default for each in read_parameters(made.notebook)}
    changed = {name: v for name, v in made.parameters.items() if v != defaults[name]}
    name, asked = made.notebook.stem, question(executed)
    return Chapter(name, made.title, asked, seconds, failure, lacking, changed), executed


def question(notebook: Any) -> Markup:
    """The question that a notebook asks: what follows ``**The question.**`` in its first cells."""
    for cell in notebook.cells[:3]:
        match = _QUESTION.search(cell.source) if cell.cell_type == "markdown" else None
        if match:
            return markdown(match[1])
    return Markup("")


def _write(
    pages: Path, chapters: Sequence[Chapter], notebooks: Sequence[Any], origin: Provenance
) -> None:
    template = page.environment().get_template("chapter.html.j2")
    ends = [None, *chapters, None]
    for place, (chapter, notebook) in enumerate(zip(chapters, notebooks, strict=True)):
        html = template.render(
            chapter=chapter,
            before=ends[place],
            after=ends[place + 2],
            provenance=origin,
            **page.body(notebook, parameters=True),
        )
        html = _TO_NOTEBOOK.sub(r"\1\2.html\3", html)
        size = len(html.encode())
        if size > PAGE_LIMIT:
            raise DataError(
                f"the page of {chapter.name} takes {size:,} bytes, more than {PAGE_LIMIT:,}: offer "
                "fewer options to pages without a kernel (Control.frames). "
                "The earlier site is intact."
            )
        write_text(pages / chapter.address, html)
    index = page.environment().get_template("site.html.j2")
    write_text(pages / "index.html", index.render(chapters=chapters, provenance=origin))


def _status(chapters: Sequence[Chapter], origin: Provenance, pages: Path) -> Status:
    failed = [chapter for chapter in chapters if chapter.failure]
    return Status(
        outcome="failed" if failed else "ok",
        title="Tutorial",
        notebook="notebooks",
        profile=origin.profile,
        parameters=origin.parameters,
        started=origin.started,
        seconds=origin.seconds,
        commit=origin.commit,
        dirty=origin.dirty,
        exit_code=int(bool(failed)),
        message="; ".join(f"{chapter.name}: {chapter.failure}" for chapter in failed),
        files=tuple(sorted({path.name for path in pages.iterdir()} | {"status.json"})),
    )
