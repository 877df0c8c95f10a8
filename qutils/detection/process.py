"""Ultralytics in a process of its own, which cannot disturb ours."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from qutils.errors import UnsupportedError
from qutils.files import ROOT

#: Lines of what the package printed that an error repeats.
_SPOKEN = 6
#: Name of the file that keeps what the package prints.
LOG = "log.txt"
_COMMAND = (sys.executable, "-m", "qutils.detection.tasks")
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
    """Run a task of ``qutils.detection.tasks`` in a process that ends with it.

    Args:
        work: the folder in which the task runs; it gets a log of what the package prints.
        told: called with each event of a training.

    Returns:
        the path that the task made.

    Raises:
        UnsupportedError: the package failed; with its last words.
    """
    with (work / LOG).open("w") as errors, _process(_COMMAND, errors, work) as process:
        return _result(process, task, options, work, told)


class Kept:
    """A process that is kept for the next task: it imports the package once.

    The first task starts it, with the environment of that moment. It ends with ours.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._running: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()
        atexit.register(self.end)

    def run(self, task: str, options: Mapping[str, Any], work: Path) -> str:
        """Run a task as ``run`` does. After a failure the next task gets a new process."""
        with self._one_at_a_time:
            try:
                return _result(self._process(work), task, options, work)
            except BaseException:
                self.end()
                raise

    def _process(self, work: Path) -> subprocess.Popen[str]:
        if self._running is None or self._running.poll() is not None:
            self.end()
            with (work / LOG).open("w") as errors:
                self._running = self._open.enter_context(_process(_COMMAND, errors, ROOT))
        return self._running

    def end(self) -> None:
        """End the process, if there is one."""
        self._open.close()
        self._running = None


#: Runs exports, which leave nothing behind that the next one could notice.
EXPORTS = Kept()


def _result(
    process: subprocess.Popen[str],
    task: str,
    options: Mapping[str, Any],
    work: Path,
    told: Callable[[Mapping[str, Any]], None] = lambda event: None,
) -> str:
    """Give a task to a process and wait for the path that it makes."""
    assert process.stdin is not None
    assert process.stdout is not None
    log = work.resolve() / LOG
    order = {"task": task, "work": str(log.parent), "log": str(log), "options": dict(options)}
    with suppress(BrokenPipeError):  # it has failed already: the log says why
        print(json.dumps(order), file=process.stdin, flush=True)
    for line in process.stdout:
        event = json.loads(line)
        if "done" in event:
            return str(event["done"])
        told(event)
    words = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    said = " / ".join([line for line in words if line][-_SPOKEN:])
    raise UnsupportedError(f"Ultralytics could not {task} (exit code {process.wait()}): {said}")


@contextmanager
def _process(command: Sequence[str], errors: Any, work: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process; when the block ends, so does it, with all that it started."""
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
