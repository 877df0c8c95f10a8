"""Running a job: start its worker, pass on what it prints, return how it ended."""

from __future__ import annotations

import codecs
import json
import os
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

from qutils.lab.runner import kernel, worker
from qutils.lab.runner.launch import GRACE, Launcher, stop_tree

__all__ = ["START_TIMEOUT", "Job", "LineFilter", "execute", "forward", "stop_tree"]

START_TIMEOUT = 120  # seconds; a cold import of torch on a busy machine takes many
#: Lines of the kernel's that mean nothing to a reader: a warning at its start, and what it says
#: when jupyter_client, ending an idle kernel, interrupts it first in case it were busy.
_UNWANTED = (
    "Kernel is running over TCP without encryption.",
    "KeyboardInterrupt caught in kernel",
)


@dataclass(frozen=True)
class Job:
    """One notebook to execute; ``output`` is where the executed one goes."""

    notebook: Path
    output: Path
    parameters: Mapping[str, object]
    work: Path
    environment: Mapping[str, str]
    start_timeout: int = START_TIMEOUT

    def to_json(self) -> str:
        """The line that the worker reads."""
        return json.dumps(
            {
                "notebook": str(self.notebook),
                "output": str(self.output),
                "parameters": self.parameters,
                "message": str(self.message),
                "kernel": kernel.NAME,
                "cwd": str(self.notebook.parent),
                "start_timeout": self.start_timeout,
            }
        )

    @property
    def message(self) -> Path:
        """File in which the worker tells the cause of a failure."""
        return self.work / "message.txt"


def execute(
    job: Job, launcher: Launcher | None = None, log: TextIO | None = None
) -> tuple[int, str]:
    """Run the job; a kernel that died is given one more try. Returns exit code and cause.

    What the processes print goes to ``log``, by default to stderr.

    Raises:
        KeyboardInterrupt: the user stopped it; every process of the run has ended.
    """
    launcher, log = launcher or Launcher(), log or sys.stderr
    code, cause = _once(job, launcher, log)
    if code == worker.KERNEL_DIED:
        print(f"{job.notebook.name}: {cause}; trying once more", file=sys.stderr)
        code, cause = _once(job, launcher, log)
    return code, cause


def _once(job: Job, launcher: Launcher, log: TextIO) -> tuple[int, str]:
    job.message.unlink(missing_ok=True)
    with launcher.started(job.environment) as (process, muted):
        assert process.stdin is not None
        assert process.stdout is not None
        echo = threading.Thread(target=forward, args=(process.stdout, log, muted), daemon=True)
        echo.start()
        process.stdin.write(job.to_json().encode() + b"\n")
        process.stdin.flush()
        code = process.wait()
        echo.join(timeout=GRACE)
    if job.message.is_file():
        return code, job.message.read_text(encoding="utf-8")
    return code or worker.FAILED, f"the worker ended with exit code {code} before it could say why"


def forward(source: IO[bytes], target: TextIO, muted: threading.Event) -> None:
    """Copy text as it comes, progress bars included, but for some lines of the kernel's."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    lines = LineFilter(*_UNWANTED)
    while block := os.read(source.fileno(), 1 << 16):
        text = lines.feed(decoder.decode(block))
        if not muted.is_set():
            target.write(text)
            target.flush()
    if not muted.is_set():
        target.write(lines.rest())
        target.flush()


class LineFilter:
    r"""Drops the kernel's log lines that hold a phrase, a progress bar in front of them or not.

    Of a log line begun, nothing is passed on until its end says whether it is unwanted.

    >>> lines = LineFilter("secret")
    >>> lines.feed("bar [IPKernelApp] the sec"), lines.feed("ret is out\nfine")
    ('bar ', 'fine')
    """

    MARK = "[IPKernelApp]"

    def __init__(self, *phrases: str) -> None:
        mark, any_phrase = re.escape(self.MARK), "|".join(map(re.escape, phrases))
        self._unwanted = re.compile(rf"{mark}[^\n]*(?:{any_phrase})[^\n]*\n?")
        self._held = ""  # start of a log line, perhaps an unwanted one

    def feed(self, text: str) -> str:
        """The part of the text so far that can be shown."""
        text = self._held + text
        whole = text.rfind("\n") + 1
        cut = text.find(self.MARK, whole)
        if cut < 0:
            cut = len(text) - _overlap(text, self.MARK)
        self._held = text[cut:]
        return self._unwanted.sub("", text[:cut])

    def rest(self) -> str:
        """What was held back at the end."""
        return self._unwanted.sub("", self._held)


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of ``text`` with which ``mark`` begins."""
    return next(size for size in range(len(mark), -1, -1) if text.endswith(mark[:size]))
