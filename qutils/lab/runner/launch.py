"""Starting workers and stopping them, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Protocol

import psutil

from qutils.lab.runner import worker

GRACE = 5.0  # seconds between asking a run to stop and ending it


class Worker(Protocol):
    """A started worker: ``subprocess.Popen``, or one that was forked."""

    pid: int
    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def wait(self) -> int:
        """Wait until it has ended; return its exit code, negative if a signal ended it."""


class Launcher:
    """Start workers, one or several at a time, and stop all of them at once.

    ``stopping`` is set as soon as ``stop`` was called: a worker that ends then has not failed.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._running: dict[int, threading.Event] = {}  # pid -> set when its output is muted
        self._lock = threading.Lock()

    @contextmanager
    def started(self, environment: Mapping[str, str]) -> Iterator[tuple[Worker, threading.Event]]:
        """Start a worker; yield it and the event that mutes its output. On an error, stop it.

        Raises:
            KeyboardInterrupt: ``stop`` was called, before or while it ran.
        """
        self.check()
        process, muted = self.spawn(environment), threading.Event()
        with self._lock:
            self._running[process.pid] = muted
        try:
            self.check()
            yield process, muted
            self.check()
        except BaseException:
            muted.set()  # what processes say on being ended helps nobody
            stop_tree(process.pid)
            process.wait()
            raise
        finally:
            with self._lock:
                del self._running[process.pid]

    def spawn(self, environment: Mapping[str, str]) -> Worker:
        """Start ``python -m qutils.lab.runner.worker``."""
        return subprocess.Popen(
            [sys.executable, "-m", worker.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C reaches us alone; we end the run in order
        )

    def stop(self) -> None:
        """Stop every worker with all that it started, and start no more."""
        self.stopping.set()
        with self._lock:
            running = dict(self._running)
        for muted in running.values():
            muted.set()
        stop_tree(*running)

    def close(self) -> None:
        """Release what starts the workers; none can be started afterwards."""

    def check(self) -> None:
        """Raise KeyboardInterrupt once ``stop`` was called."""
        if self.stopping.is_set():
            raise KeyboardInterrupt


def stop_tree(*pids: int) -> None:
    """Interrupt processes and all their descendants; kill those that are still there after a while.

    The interrupt lets a notebook clean up half-written files.
    """
    tree: list[psutil.Process] = []
    for pid in pids:
        try:
            parent = psutil.Process(pid)
            tree += [*parent.children(recursive=True), parent]
        except psutil.NoSuchProcess:
            continue
    for process in tree:
        _signal(process, "interrupt")
    _, alive = psutil.wait_procs(tree, timeout=GRACE)
    for process in alive:
        _signal(process, "kill")
    psutil.wait_procs(alive, timeout=GRACE)


def _signal(process: psutil.Process, how: str) -> None:
    try:
        process.send_signal(2) if how == "interrupt" else process.kill()
    except psutil.NoSuchProcess:
        return
