"""A private Jupyter for one run: this very Python as kernel, nothing of the user's set-up."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from qutils.files import ROOT
from qutils.lab.results import cache
from qutils.lab.results.publish import REPORT_DIR, REPORT_PARAMETERS, REPORT_STARTED
from qutils.lab.site.explorers import MODE

NAME = "qutils"
#: Progress bars as text on stderr, which the runner passes on; a widget would be lost.
_PLAIN_BARS = "import sys; sys.modules['tqdm.notebook'] = None"


def write_kernelspec(folder: Path) -> None:
    """Put a kernel named ``qutils`` that runs ``sys.executable`` under ``folder``."""
    spec = {
        "argv": [
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            f"--IPKernelApp.exec_lines={_PLAIN_BARS}",
        ],
        "display_name": "Python (qutils)",
        "language": "python",
    }
    place = folder / "kernels" / NAME
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")


def environment(
    work: Path,
    report: Path,
    parameters: Mapping[str, object],
    started: str,
    refresh: bool,
    explorers: str | None = None,
    threads: int | None = None,
) -> dict[str, str]:
    """Environment of the run; ``work`` holds its Jupyter files, ``report`` takes its results.

    Works from an empty environment, and leaves the user's IPython profile out. ``explorers`` is how
    they show themselves; by default as the user's environment says, else by their picture.
    ``threads`` is for each computation, unless the user has set ``OMP_NUM_THREADS``.
    """
    given = dict(os.environ)
    paths = [str(ROOT)] if (ROOT / "pyproject.toml").is_file() else []
    paths += [given["PYTHONPATH"]] if given.get("PYTHONPATH") else []
    given |= {
        "JUPYTER_PATH": str(work / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(work / "config"),
        "JUPYTER_DATA_DIR": str(work / "data"),
        "JUPYTER_RUNTIME_DIR": str(work / "runtime"),
        "IPYTHONDIR": str(work / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # a warning about the debugger, which is not used
        REPORT_DIR: str(report),
        REPORT_PARAMETERS: json.dumps(parameters),
        REPORT_STARTED: started,
    }
    given[MODE] = explorers or given.get(MODE, "picture")
    if threads is not None and not given.get("OMP_NUM_THREADS"):
        given["OMP_NUM_THREADS"] = str(threads)
    if paths:
        given["PYTHONPATH"] = os.pathsep.join(paths)
    if given.get(cache.FOLDER):
        given[cache.FOLDER] = str(Path(given[cache.FOLDER]).resolve())  # the run's cwd is another
    if refresh:
        given[cache.REFRESH] = "1"
    return given
