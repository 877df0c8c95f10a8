"""Ultralytics in a process of its own, which cannot disturb ours."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from qutils.detection import ultralytics
from qutils.errors import UnsupportedError
from qutils.files import ROOT

#: Lines of what the package printed that an error repeats.
_SPOKEN = 6
_COMMAND = (sys.executable, "-m", ultralytics.__name__)
#: glibc gives large buffers back after each layer; kept, a training step takes half as long. And a
#: thread that waits spins for 2,000 rounds before it sleeps, not 300,000: beside other work it
#: would hold the core that the awaited one needs. The user's own settings come first.
_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "GOMP_SPINCOUNT": "2000",
}


def run(
    task: str,
    options: Mapping[str, Any],
    work: Path,
    told: Callable[[Mapping[str, Any]], None] = lambda event: None,
) -> str:
    """Run a task of ``ultralytics.main`` in a process that ends with it; return the path it made.

    Args:
        told: called with each event of a training.

    Raises:
        UnsupportedError: the package failed; with its last words.
    """
    with _process(_COMMAND, None, work) as process:
        return _done(process, task, options, work, told)


class Kept:
    """A process that is kept for the next task: importing the package takes longer than most.

    It is started by the first task with the environment of that moment, and ends with ours.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: subprocess.Popen[str] | None = None

    def run(self, task: str, options: Mapping[str, Any], work: Path) -> str:
        """Run a task; return the path it made.

        Raises:
            UnsupportedError: the package failed; with its last words. The process ends, so that
                the next task starts afresh.
        """
        if self._running is None or self._running.poll() is not None:
            self._running = self._stack.enter_context(_process(_COMMAND, None, ROOT))
        try:
            return _done(self._running, task, options, work)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """End the process, if there is one."""
        self._stack.close()
        self._running = None


#: For exports.
EXPORTS = Kept()
atexit.register(EXPORTS.end)


def _done(
    process: subprocess.Popen[str],
    task: str,
    options: Mapping[str, Any],
    work: Path,
    told: Callable[[Mapping[str, Any]], None] = lambda event: None,
) -> str:
    """Hand a task to a process and wait for it."""
    assert process.stdin is not None
    assert process.stdout is not None
    order = {"task": task, "work": str(work.resolve()), "options": dict(options)}
    print(json.dumps(order), file=process.stdin, flush=True)
    for line in process.stdout:
        event = json.loads(line)
        if "done" in event:
            return str(event["done"])
        told(event)
    raise UnsupportedError(
        f"Ultralytics could not {task} (exit code {process.wait()}): {_last_words(work)}"
    )


def _last_words(work: Path) -> str:
    log = work / ultralytics.LOG
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    words = [line.strip() for line in lines]
    return " / ".join([line for line in words if line][-_SPOKEN:])


@contextmanager
def _process(command: Sequence[str], errors: Any, work: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that ends, with all that it started, when the block does."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    ours = dict(_ENVIRONMENT)
    if "OMP_WAIT_POLICY" in os.environ:  # the user's, which spinning would overrule
        del ours["GOMP_SPINCOUNT"]
    environment = {
        **ours,
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    process = subprocess.Popen(
        command,
        cwd=work,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
