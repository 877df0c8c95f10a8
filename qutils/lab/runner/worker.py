"""The subprocess that executes one notebook: ``python -m qutils.lab.runner.worker``.

The job comes as one line of JSON on standard input, which the parent keeps open: when it closes,
the parent is gone and the worker ends itself and its kernel.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import psutil

OK, FAILED, KERNEL_DIED, INTERRUPTED = 0, 1, 138, 130


def main() -> int:
    """Execute the notebook of the job; returns the exit code."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("papermill").setLevel(logging.ERROR)  # its parameter check misreads types
    try:
        code, message = _execute(job)
    except KeyboardInterrupt:
        return INTERRUPTED
    Path(job["message"]).write_text(message, encoding="utf-8")
    return code


def _execute(job: dict[str, Any]) -> tuple[int, str]:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            _literal(job["notebook"]),
            _literal(job["output"]),
            parameters=job["parameters"],
            kernel_name=job["kernel"],
            language="python",
            start_timeout=job["start_timeout"],
            stderr_file=sys.stderr,
            cwd=job["cwd"],
        )
    except PapermillExecutionError as error:
        return FAILED, f"{error.ename}: {error.evalue}".strip()
    except DeadKernelError:
        return KERNEL_DIED, "the kernel died (out of memory, or a crash in compiled code)"
    except Exception as error:
        traceback.print_exc()
        return FAILED, f"{type(error).__name__}: {error}"
    return OK, ""


def _literal(path: str) -> str:
    """A path that papermill, which fills braces with parameters, leaves as it is."""
    return path.replace("{", "{{").replace("}", "}}")


def _end_with_parent() -> None:
    sys.stdin.read()
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
