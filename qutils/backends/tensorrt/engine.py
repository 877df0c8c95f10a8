"""ONNX file -> TensorRT engine, ahead of time and without a GPU, for the GPUs named.

It works wherever numpy, onnx and ``tensorrt_rtx`` (TensorRT for RTX) are installed, torch or not.
The engine runs on a GPU of NVIDIA's only. Each build has a process of its own: a scale that is
computed makes the parser crash, and a build that follows a refused one in the same process falls
back to float convolutions (both seen with 1.7.1).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qutils.backends.tensorrt import BACKEND
from qutils.backends.tensorrt.rules import SLOWER, check
from qutils.errors import (
    InvalidInputError,
    UnsupportedError,
    known_names,
    not_installed,
)
from qutils.files import ROOT, atomic_path

PACKAGE, INSTALL = BACKEND.package, BACKEND.install_extra
#: Compute capabilities that int8 engines are built for, by GPU: A100; RTX 30; RTX 40; RTX 50.
CAPABILITIES = ("SM80", "SM86", "SM89", "SM120")
#: Smallest batch, the one to be fast at, largest.
BATCHES = (1, 8, 128)
_REFUSED = 3


def build(
    onnx: str | Path,
    engine: str | Path,
    capabilities: Sequence[str] = CAPABILITIES,
    batches: tuple[int, int, int] = BATCHES,
) -> Path:
    """Build the engine of an ONNX file with one input ``[n, ...]``; returns the path written.

    ``plan.steps`` tells what it computes in.

    Args:
        capabilities: of the GPUs that are to run it, ``SM86`` for 8.6; ``CURRENT`` is this
            machine's.
        batches: smallest, usual and largest batch that it takes, where the file leaves it open.

    Raises:
        MissingPackageError: TensorRT is not installed; names the command.
        InvalidInputError: unknown capability, batches that do not rise.
        DataError: the file is missing or corrupt, the folder cannot be written.
        UnsupportedError: the file breaks a rule of ``rules``, or TensorRT refuses it.
    """
    if find_spec(PACKAGE) is None:
        raise not_installed(PACKAGE, INSTALL)
    _check_batches(batches)
    broken = [violation for violation in check(onnx) if violation.rule not in SLOWER]
    if broken:
        raise UnsupportedError(
            f"{onnx} is not as TensorRT wants it. {broken[0]} ({len(broken)} in all: "
            f"qutils check {onnx} --target tensorrt)"
        )
    with atomic_path(Path(engine)) as temporary:
        job = {"onnx": str(onnx), "engine": str(temporary), "batches": list(batches)}
        _run({**job, "capabilities": list(capabilities)})
    return Path(engine)


def _check_batches(batches: tuple[int, int, int]) -> None:
    whole = len(batches) == 3 and all(type(size) is int and size > 0 for size in batches)
    if not whole or list(batches) != sorted(batches):
        raise InvalidInputError(
            f"batches are {batches!r}: give smallest, usual and largest, {BATCHES} say"
        )


def _run(job: dict[str, Any]) -> None:
    """Do a job in a process of its own; its refusal becomes our error."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(job)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    lines = done.stdout.strip().splitlines()
    if done.returncode == _REFUSED and lines:
        told = json.loads(lines[-1])
        if told["kind"] == "input":
            raise InvalidInputError(told["message"])
        raise UnsupportedError(told["message"])
    last = (done.stderr.strip().splitlines() or [""])[-1]
    raise UnsupportedError(
        f"TensorRT died of {job['onnx']} (exit code {done.returncode}). {last}".strip()
    )


def _work(job: dict[str, Any]) -> None:
    """Parse and build; what TensorRT refuses is raised with its own words."""
    import tensorrt_rtx as trt

    known = [name for name in trt.ComputeCapability.__members__ if name != "NONE"]
    names = known_names("compute capability", job["capabilities"], known)
    log = _log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(
        1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)  # the types that Q/DQ state
    )
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(job["onnx"]):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise UnsupportedError(_sentence(job, "cannot read", reasons or log.errors))
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    _open_batch(builder, network, config, job["batches"])
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise UnsupportedError(_sentence(job, f"cannot build for {', '.join(names)}", log.errors))
    Path(job["engine"]).write_bytes(bytes(plan))


def _open_batch(builder: Any, network: Any, config: Any, batches: list[int]) -> None:
    """State the batches of an input whose first axis is open."""
    if network.num_inputs != 1:
        raise UnsupportedError(f"the network has {network.num_inputs} inputs: one is supported")
    x = network.get_input(0)
    shape = tuple(x.shape)
    if shape[0] != -1:
        return
    if -1 in shape[1:]:
        raise UnsupportedError(f"the input is {list(shape)}: only the batch may be open")
    profile = builder.create_optimization_profile()
    profile.set_shape(x.name, *((size, *shape[1:]) for size in batches))
    config.add_optimization_profile(profile)


def _log(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps what TensorRT reports as an error."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(message)

    return Log()


def _sentence(job: dict[str, Any], what: str, reasons: list[str]) -> str:
    first = (reasons[0] if reasons else "no reason given").strip().splitlines()
    import tensorrt_rtx as trt

    return f"TensorRT {trt.__version__} {what} {job['onnx']}: {' '.join(first[:2])}"


def _main(text: str) -> int:
    try:
        _work(json.loads(text))
    except (InvalidInputError, UnsupportedError) as error:
        kind = "input" if isinstance(error, InvalidInputError) else "unsupported"
        print(json.dumps({"kind": kind, "message": str(error)}))
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
