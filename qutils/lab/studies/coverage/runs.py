"""Every architecture in a process of its own, so that one that crashes is a row and no more."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import IO, Any

from tqdm.auto import tqdm

from qutils.errors import QutilsError
from qutils.lab.results.cache import Cache, source_digest
from qutils.lab.studies.coverage.plan import Profile

Figures = dict[str, Any]
#: Modules whose code the figures depend on.
_CODE = (
    *(
        "qutils.discovery",
        "qutils.isolated",
        "qutils.nested",
        "qutils.reading",
        "qutils.numerics",
        "qutils.graph",
    ),
    *("qutils.quantize", "qutils.backends", "qutils.lab.studies.coverage"),
)
#: Longest that the server may take to import everything [s].
_START = 600.0
_ENDED = "The process ended with exit code {}."


def measure(size: Profile, cache: Cache | None = None) -> dict[str, dict[str, Figures]]:
    """Return the figures of each step of each architecture, with progress.

    Each architecture runs in a process of its own with a limit of time and memory. What is measured
    is kept by content: a run that was interrupted resumes, and changed code measures anew.

    Raises:
        QutilsError: the server of processes does not start; with the end of what it printed.
    """
    cache = cache or Cache()
    code = source_digest(*_CODE)
    whole = ("architectures", "missing", "peers_missing")
    setting = {k: v for k, v in asdict(size).items() if k not in whole}
    found: dict[str, dict[str, Figures]] = {}
    with contextlib.ExitStack() as stack:
        server: Server | None = None
        for name in tqdm(size.architectures, desc="coverage", unit="architecture"):
            key = {"coverage": name, "setting": setting, "code": code}
            if server is None and (cache.refresh or cache.peek(key) is None):
                server = stack.enter_context(serving())
            compute = partial(server.measured, name, size) if server else dict
            found[name] = cache.get_or_compute(key, compute)
    cache.announce()
    return found


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Start a server of processes; it ends with the block."""
    command = [sys.executable, "-m", "qutils.lab.studies.coverage.server"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        ) as process,
    ):
        try:
            yield Server(process, log)
        finally:
            process.kill()


class Server:
    """Forks a child for each order, and passes on what it measures."""

    def __init__(self, process: subprocess.Popen[str], log: IO[bytes]) -> None:
        self._process, self._log = process, log
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)

    def measured(self, name: str, size: Profile) -> dict[str, Figures]:
        """Return the figures of one architecture; a step that ends its process has failed."""
        found: dict[str, Figures] = {}
        with tempfile.TemporaryDirectory() as folder:
            while (failed := self._order(name, size, folder, found)) is not None:
                step, reason = failed
                found[step] = {"works": False, "error": reason}
                if step == _BEGINNING:
                    break
        return found

    def _order(
        self, name: str, size: Profile, folder: str, found: dict[str, Figures]
    ) -> tuple[str, str] | None:
        """Have the steps performed that are not done; return the one that failed, and why."""
        order = {"name": name, "size": asdict(size), "folder": folder, "done": list(found)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        step, child, reason, limit = _BEGINNING, 0, "", _START
        while True:
            try:
                answer = self._answers.get(timeout=limit)
            except queue.Empty:
                if not child or reason:
                    raise self._dead("does not answer") from None
                reason, limit = (
                    f"The step took more than {size.seconds:g} s and was stopped.",
                    _START,
                )
                with contextlib.suppress(ProcessLookupError):  # it ended just now
                    os.kill(child, signal.SIGKILL)
                continue
            if answer is None:
                raise self._dead("ended")
            if answer["kind"] == "pid":
                child, limit = answer["pid"], size.seconds
            elif answer["kind"] == "step":
                step = answer["step"]
            elif answer["kind"] == "figures":
                found[step] = answer["figures"]
            elif answer["code"] == 0:
                return None
            else:
                return step, reason or _ENDED.format(answer["code"])

    def _dead(self, what: str) -> QutilsError:
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
        return QutilsError(f"The process that measures architectures {what}: {' '.join(said)}")


#: Stands for a step until the first one is announced.
_BEGINNING = "start"
