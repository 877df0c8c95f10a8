"""Body of a fresh process: read an order on stdin, call, report result and peak memory on stdout.

Run as a script, with the standard library alone, so that nothing but the measured function and
what it imports takes memory.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
from pathlib import Path

MARK = "qutils-peak:"


def high_water_mib() -> float:
    """Peak resident memory of this process so far [MiB].

    The kernel's ``VmHWM`` where ``/proc`` has it, else ``ru_maxrss``. On Linux ``ru_maxrss``
    survives ``exec``: a child of a large parent would report the parent's peak.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024  # kB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024  # bytes or KiB


def reset_high_water() -> bool:
    """Start the peak of this process anew from what it holds now; False where it cannot.

    Linux: ``5`` written to ``/proc/self/clear_refs`` resets ``VmHWM`` (proc(5)).
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def main() -> None:
    """Call the ordered function; print the peak before and after it [MiB], and what it returned."""
    path, module, name, args, kwargs = json.load(sys.stdin)
    sys.path[:] = path
    function = getattr(importlib.import_module(module), name)
    before = high_water_mib()
    result = function(*args, **kwargs)
    print(f"\n{MARK}{json.dumps([before, high_water_mib(), result])}")


if __name__ == "__main__":
    main()
