"""A process that has imported everything once, and forks one child for each architecture.

Importing torch, torchvision and timm, and building the exporter's table of operators, takes longer
than to quantize a small network. Orders arrive as lines of JSON on stdin, answers leave as lines on
stdout: ``pid``, ``step``, ``figures``, and ``end`` with the exit code of the child.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any, TextIO


def main() -> None:
    """Import, then serve orders until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    _preload()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            _child(order, answers)
        _, status = os.waitpid(child, 0)
        _say(answers, kind="end", code=os.waitstatus_to_exitcode(status))


def _preload() -> None:
    import torch

    from qutils.backends.export import export
    from qutils.detection.torchvision import torchvision
    from qutils.errors import MissingPackageError
    from qutils.lab.studies.coverage import measure  # noqa: F401
    from qutils.quantize.calibration import calibrate

    torch.set_num_threads(1)  # threads do not survive a fork
    with contextlib.suppress(MissingPackageError):
        torchvision()
        for name in ("timm", "transformers"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        export(calibrate(torch.nn.Linear(2, 2), torch.randn(4, 2)), Path(folder) / "first.onnx")


def _child(order: dict[str, Any], answers: TextIO) -> None:
    """Perform the steps of an order that are not done, each announced first; never returns."""
    from qutils.lab.studies.coverage.measure import Subject, perform, steps
    from qutils.lab.studies.coverage.plan import Profile

    code = 1
    try:
        _say(answers, kind="pid", pid=os.getpid())
        size = Profile(**order["size"])
        limit = size.gib << 30
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
        os.chdir(order["folder"])  # tools leave files where they run
        subject = Subject(order["name"], size, Path(order["folder"]))
        for step, function in steps(size).items():
            if step not in order["done"]:
                _say(answers, kind="step", step=step)
                _say(answers, kind="figures", figures=perform(function, subject))
        code = 0
    finally:
        os._exit(code)


def _say(answers: TextIO, **message: Any) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
