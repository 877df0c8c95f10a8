"""A function called in a fresh process: nothing measured before it can disturb it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qutils.errors import InvalidInputError, QutilsError
from qutils.evaluate.bench import fresh

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

#: Environment of processes that train, one thread each. glibc hands large buffers back to the
#: kernel after every layer unless told to keep them; keeping them halved a training step where it
#: was measured.
TRAINING_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "10000000000",
}


@dataclass(frozen=True)
class Outcome:
    """What the function returned, and peak resident memory before and after the call [MiB]."""

    result: Any  # JSON
    imports_mib: float
    peak_mib: float


def call_fresh(
    function: str,
    *args: Json,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
    **kwargs: Json,
) -> Outcome:
    """Call ``module:function`` with JSON arguments in a fresh process; it returns JSON.

    Args:
        environment: variables set on top of this process's own.

    Raises:
        InvalidInputError: not written ``module:function``, or arguments that are not JSON.
        QutilsError: the function raised, or the process died or ran past ``timeout`` seconds.
    """
    command = [sys.executable, fresh.__file__]
    order = _order(function, args, kwargs)
    env = {**os.environ, **(environment or {})}
    try:
        done = subprocess.run(
            command, input=order, capture_output=True, text=True, timeout=timeout, env=env
        )
    except subprocess.TimeoutExpired as error:
        raise QutilsError(f"{function} ran past {timeout} s in its fresh process") from error
    reports = [line for line in done.stdout.splitlines() if line.startswith(fresh.MARK)]
    if done.returncode != 0 or not reports:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise QutilsError(
            f"{function} failed in its fresh process (exit {done.returncode}): {reason}"
        )
    before, peak, result = json.loads(reports[-1].removeprefix(fresh.MARK))
    return Outcome(result, imports_mib=before, peak_mib=peak)


def _order(function: str, args: tuple[Json, ...], kwargs: Mapping[str, Json]) -> str:
    """What the fresh process reads: import path, module, function, arguments."""
    module, _, name = function.partition(":")
    if not module or not name:
        raise InvalidInputError(f"{function!r} is not of the form 'module:function'")
    path = [entry or str(Path.cwd()) for entry in sys.path]
    try:
        return json.dumps([path, module, name, args, kwargs])
    except TypeError as error:
        raise InvalidInputError(f"arguments of {function} are not JSON: {error}") from error
