"""Ultralytics in a process of its own, which cannot disturb ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qutils.detection import ultralytics
from qutils.errors import UnsupportedError
from qutils.files import ROOT

#: Lines of what the package printed that an error repeats.
_SPOKEN = 6
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
    """Run ``ultralytics.main`` with options; ``told`` hears of epochs. Returns the path it made.

    Raises:
        UnsupportedError: the package failed; with its last words.
    """
    command = [sys.executable, "-m", ultralytics.__name__, task, json.dumps(dict(options))]
    log = work / "log.txt"
    made = ""
    with log.open("w") as errors, _process(command, errors, work) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if "done" in event:
                made = str(event["done"])
            else:
                told(event)
        code = process.wait()
    if code or not made:
        words = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        said = " / ".join([line for line in words if line][-_SPOKEN:])
        raise UnsupportedError(f"Ultralytics could not {task} (exit code {code}): {said}")
    return made


@contextmanager
def _process(command: list[str], errors: Any, work: Path) -> Iterator[subprocess.Popen[str]]:
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
        stdin=subprocess.DEVNULL,
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
