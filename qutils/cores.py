"""How many processor cores there are to use."""

from __future__ import annotations

import os


def core_count() -> int:
    """Cores this process may use: those it was confined to, not all of the machine's.

    >>> core_count() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_limit() -> int:
    """Threads that a computation may use: as many as ``OMP_NUM_THREADS`` says, else all cores."""
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # of the outermost level
    return int(limit) if limit.isdecimal() and int(limit) else core_count()
