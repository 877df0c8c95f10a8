"""Try a file in a child process first where its parser can crash the interpreter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from qutils.errors import DataError
from qutils.files import ROOT, sha256, written_here

#: Seconds that a file may take to be opened and run once.
_SECONDS = 60
#: Memory that it may take: as much whatever its size, and so many times its size [bytes].
_BYTES, _TIMES = 3 << 29, 64
_HEAD = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
#: Files that this process tried: code and SHA-256.
_tried: set[tuple[str, str]] = set()


def check_survives(path: Path, code: str, fix: str = "Export it again.") -> None:
    """Run ``code`` on a file in a child process, unless this process has written it or tried it.

    What the code raises is no matter here: the caller runs it again, and has its own errors.

    Args:
        code: Python that reads the file ``sys.argv[1]``.

    Raises:
        DataError: the child crashed, took more than a minute, or more memory than a file of this
            size can need.
    """
    if written_here(path):
        return
    key = code, sha256(path)
    if key in _tried:
        return
    if why := _failure(path, code):
        raise DataError(
            f"{path} is corrupt ({path.stat().st_size:,} bytes): tried in another process, its "
            f"runtime {why}. {fix}"
        )
    _tried.add(key)


def _failure(path: Path, code: str) -> str:
    """Return how a child fails that no error can tell; empty where it does not."""
    command = [sys.executable, "-P", "-c", _HEAD + code, str(path)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    nowhere = subprocess.DEVNULL
    most = _BYTES + _TIMES * path.stat().st_size
    begun = time.monotonic()
    with subprocess.Popen(command, stdout=nowhere, stderr=nowhere, env=environment) as child:
        try:
            while True:
                try:
                    child.wait(timeout=0.01)
                    return "" if child.returncode >= 0 else _signal(-child.returncode)
                except subprocess.TimeoutExpired:
                    if _resident(child.pid) > most:
                        return f"takes more than {most:,} bytes of memory"
                    if time.monotonic() - begun > _SECONDS:
                        return f"runs for more than {_SECONDS} s"
        finally:
            child.kill()


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _signal(number: int) -> str:
    try:
        return f"crashes ({signal.Signals(number).name})"
    except ValueError:
        return f"crashes (signal {number})"
