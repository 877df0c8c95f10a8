"""Running one notebook: check everything, execute it apart, publish the whole report or none."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from qutils.errors import DataError
from qutils.files import atomic_path, write_text
from qutils.lab.results import compare, provenance, results
from qutils.lab.results.provenance import Provenance
from qutils.lab.results.reuse import load_reuse
from qutils.lab.runner import kernel, staging, worker
from qutils.lab.runner.launch import Launcher
from qutils.lab.runner.parameters import read_notebook
from qutils.lab.runner.plan import Plan, plan
from qutils.lab.runner.process import START_TIMEOUT, Job, execute
from qutils.lab.runner.status import Status, readable_status
from qutils.lab.site import page

HEAVY_BYTES = 3_000_000  # reports are kept in git


@dataclass(frozen=True)
class Run:
    """What came of a run: exit code 0, 1 or 138, what to look at, the cause of a failure."""

    exit_code: int
    shown: Path
    message: str = ""


@dataclass(frozen=True)
class Beside:
    """How a notebook runs beside others: who starts it, its threads, where its messages go."""

    launcher: Launcher | None = None
    threads: int | None = None
    log: TextIO | None = None


def run_notebook(
    notebook: Path,
    destination: Path | None = None,
    parameters: Mapping[str, object] | None = None,
    *,
    refresh: bool = False,
    start_timeout: int = START_TIMEOUT,
    explorers: str | None = None,
    beside: Beside | None = None,
) -> Run:
    """Execute a notebook in a process of its own and publish what it made.

    ``destination`` is a folder (report) or ends in ``.ipynb`` (the executed notebook alone);
    ``refresh`` leaves cached results unused; ``explorers`` is how those of the notebook show
    themselves: ``picture`` (unless the environment says another) or ``frames``; ``beside`` is given
    where several notebooks run at a time. On failure the earlier report stays and ``failed.html``
    and ``failed.ipynb`` are put beside it.

    Raises:
        InvalidInputError: before anything runs (see ``plan``).
        KeyboardInterrupt: the user stopped it; the earlier report is intact.
    """
    made = plan(notebook, destination, parameters, refresh)
    with tempfile.TemporaryDirectory(prefix="qutils-run-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        if made.bare:
            (work / "report").mkdir()
            return _run(made, work, work / "report", start_timeout, explorers, beside)
        with staging.staging(made.destination) as folder:
            return _run(made, work, folder, start_timeout, explorers, beside)


def _run(
    made: Plan,
    work: Path,
    folder: Path,
    start_timeout: int,
    explorers: str | None,
    beside: Beside | None,
) -> Run:
    beside = beside or Beside()
    started, clock = provenance.now(), time.monotonic()
    kernel.write_kernelspec(work / "jupyter")
    job = Job(
        notebook=made.notebook,
        output=work / "executed.ipynb",
        parameters=made.parameters,
        work=work,
        environment=kernel.environment(
            work, folder, made.parameters, started, made.refresh, explorers, beside.threads
        ),
        start_timeout=start_timeout,
    )
    code, message = execute(job, beside.launcher, beside.log)
    if made.bare:
        return _publish_bare(made, job.output, code, message)
    origin = provenance.collect(made.parameters, started, time.monotonic() - clock)
    if code == worker.OK:
        try:
            return _publish_report(made, job.output, folder, origin)
        except DataError as error:  # the notebook wrote a results file that is not valid
            code, message = worker.FAILED, str(error)
    return _publish_failure(made, job.output, origin, code, message)


def _publish_report(made: Plan, executed: Path, folder: Path, origin: Provenance) -> Run:
    change = None
    if (folder / "results.json").is_file():
        found = results.load(folder / "results.json")
        origin = dataclasses.replace(  # threads and versions as the kernel saw them
            found.provenance,
            started=origin.started,
            seconds=origin.seconds,
            parameters=origin.parameters,
            profile=origin.profile,
        )
        found = dataclasses.replace(found, provenance=origin)
        found.save(folder / "results.json")
        change = compare.with_previous(made.destination, found)
        if change is not None:
            change.save(folder / "changes.json")
    reuse = load_reuse(folder)
    measured = (folder / "results.json").is_file()
    html = page.render(
        read_notebook(executed),
        made.title,
        origin,
        change=change,
        measured=measured,
        reuse=reuse,
    )
    write_text(folder / "report.html", html)
    files = {path.name for path in folder.iterdir()} | {"status.json"}
    _status(made, origin, worker.OK, "", tuple(sorted(files))).save(folder)
    staging.publish(folder, made.destination)
    _tell_if_heavy(made.destination)
    return Run(worker.OK, made.destination / "report.html")


def _tell_if_heavy(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > HEAVY_BYTES:
        print(f"{folder} has {size / 1e6:.1f} MB: too heavy to commit often", file=sys.stderr)


def _publish_failure(
    made: Plan, executed: Path, origin: Provenance, code: int, message: str
) -> Run:
    """Put the failed notebook beside the earlier report, which stays as it was."""
    source = executed if executed.is_file() else made.notebook
    target = made.destination
    target.mkdir(parents=True, exist_ok=True)
    earlier = readable_status(target)
    write_text(
        target / "failed.html",
        page.render(read_notebook(source), made.title, origin, failure=message),
    )
    with atomic_path(target / "failed.ipynb") as path:
        shutil.copyfile(source, path)
    files = {*(earlier.files if earlier else ()), "status.json", *staging.FAILURE_FILES}
    _status(made, origin, code, message, tuple(sorted(files))).save(target)
    return Run(_exit_code(code), target / "failed.html", message)


def _publish_bare(made: Plan, executed: Path, code: int, message: str) -> Run:
    target = made.destination if code == worker.OK else made.failed
    source = executed if executed.is_file() else made.notebook
    with atomic_path(target) as path:
        shutil.copyfile(source, path)
    return Run(worker.OK if code == worker.OK else _exit_code(code), target, message)


def _exit_code(code: int) -> int:
    return worker.KERNEL_DIED if code == worker.KERNEL_DIED else worker.FAILED


def _status(
    made: Plan, origin: Provenance, code: int, message: str, files: tuple[str, ...]
) -> Status:
    return Status(
        outcome="ok" if code == worker.OK else "failed",
        title=made.title,
        notebook=made.notebook.name,
        profile=made.profile,
        parameters=made.parameters,
        started=origin.started,
        seconds=origin.seconds,
        commit=origin.commit,
        dirty=origin.dirty,
        exit_code=code,
        message=message,
        files=files,
    )
