"""A report is made in a staging folder beside its destination and moved there when complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from qutils.errors import InvalidInputError
from qutils.lab.runner.status import readable_status

#: Room that has to be free before a run begins: a report is lighter than this.
PROBE_BYTES = 4 << 20
#: What a failed run puts beside the report that was there; the next good run takes it away.
FAILURE_FILES = ("failed.html", "failed.ipynb")
#: What a run may have published into a folder whose ``status.json`` does not say.
_PUBLISHED = (
    *("status.json", "results.json", "changes.json", "reuse.json", "figures"),
    "report.html",
)
_STAGING, _PREVIOUS = "staging", "previous"


@contextmanager
def staging(destination: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``destination``; whatever is left of it is removed.

    Raises:
        InvalidInputError: the place cannot be written, or is a folder of something else.
    """
    recover(destination)
    check_destination(destination)
    folder = _beside(destination, _STAGING)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_destination(destination: Path) -> None:
    """Make sure, before anything runs, that a report can be put at ``destination``.

    Raises:
        InvalidInputError: it holds something else, is read-only, or the disk is full.
    """
    if destination.is_file():
        raise InvalidInputError(f"{destination} is a file; name a folder, or one ending in .ipynb")
    if destination.is_dir() and any(destination.iterdir()) and not is_report(destination):
        raise InvalidInputError(
            f"{destination} holds something other than a report; name a new folder"
        )
    probe_write(destination.parent)


def is_report(folder: Path) -> bool:
    """Whether a run has published into ``folder``."""
    return (folder / "status.json").is_file() or (folder / "results.json").is_file()


def probe_write(folder: Path) -> None:
    """Write a few MB into ``folder`` and remove them.

    Raises:
        InvalidInputError: that fails; names the cause and the mend.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with probe.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InvalidInputError(
            f"cannot write into {folder}: {error.strerror}. "
            "Nothing was run or changed; choose another output folder or free this one."
        ) from error
    finally:
        _remove(probe)


def publish(folder: Path, destination: Path) -> None:
    """Put the finished ``folder`` where ``destination`` was, in one step.

    Files in the old folder that no run wrote (a reader's notes) are kept.
    """
    _keep_foreign(destination, folder)
    previous = _beside(destination, _PREVIOUS)
    had = destination.is_dir()
    if had:
        destination.rename(previous)
    try:
        folder.rename(destination)
    except BaseException:
        if had:
            previous.rename(destination)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def recover(destination: Path) -> None:
    """Undo what runs that were killed left behind: bring back the report, drop their staging."""
    for kind in (_PREVIOUS, _STAGING):
        for left in sorted(destination.parent.glob(f".{destination.name}.{kind}-*")):
            owner = left.name.rpartition("-")[2]
            if owner.isdigit() and int(owner) != os.getpid() and psutil.pid_exists(int(owner)):
                continue  # another run is at work
            if kind == _PREVIOUS and not destination.exists():
                left.rename(destination)
            else:
                shutil.rmtree(left, ignore_errors=True)


def _keep_foreign(destination: Path, folder: Path) -> None:
    if not destination.is_dir():
        return
    status = readable_status(destination)
    published = {*(status.files if status else _PUBLISHED), *FAILURE_FILES}
    for path in destination.iterdir():
        copy = folder / path.name
        if path.name in published or copy.exists():
            continue
        if path.is_dir():
            shutil.copytree(path, copy, symlinks=True)
        else:
            shutil.copy2(path, copy, follow_symlinks=False)


def _beside(destination: Path, kind: str) -> Path:
    return destination.parent / f".{destination.name}.{kind}-{os.getpid()}"


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # its folder could not be entered: there is nothing to remove
