"""A CPU with AVX2 but without VNNI: this one, or one that QEMU emulates, or none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from qutils.backends.shared import cpu

_QEMU = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
#: Runs each file of its arguments in ONNX Runtime with default options.
_SESSIONS = """
import sys
import numpy as np, onnxruntime as ort
for name in sys.argv[1:]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(name, options, providers=["CPUExecutionProvider"])
    inputs = np.load(name.replace(".onnx", ".npy"))
    np.save(name.replace(".onnx", ".out.npy"), session.run(None, {"input": inputs})[0])
"""


def run_without_vnni(files: dict[Path, np.ndarray]) -> dict[Path, np.ndarray]:
    """Outputs of ONNX files, each on its inputs, where the CPU adds pairs in 16 bits.

    Skips the test where there is no such CPU.
    """
    if cpu.saturates():
        command = [sys.executable]
    elif _QEMU:
        command = [_QEMU, "-cpu", "Haswell", str(Path(sys.executable).resolve())]
    else:
        pytest.skip("this CPU has VNNI, and qemu-x86_64 (Debian: qemu-user) is not installed")
    for path, inputs in files.items():
        np.save(path.with_suffix(".npy"), inputs)
    packages = sysconfig.get_paths()["purelib"]
    subprocess.run(
        [*command, "-c", _SESSIONS, *map(str, files)],
        check=True, capture_output=True, timeout=300, env=os.environ | {"PYTHONPATH": packages},
    )  # fmt: skip
    return {path: np.load(path.with_suffix(".out.npy")) for path in files}
