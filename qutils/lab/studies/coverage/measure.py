"""One architecture: quantized by us and by other tools, each file run beside the float network."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.backends.shared.onnx_writer import export_float
from qutils.errors import QutilsError
from qutils.evaluate.analysis.sqnr import sqnr_db
from qutils.evaluate.bench import peers
from qutils.evaluate.bench.latency import compare
from qutils.graph.signature import Batch, named_outputs
from qutils.graph.wrappers import first_line
from qutils.lab.studies.coverage.build import build, inputs
from qutils.lab.studies.coverage.loss import steepest
from qutils.lab.studies.coverage.norms import settle
from qutils.lab.studies.coverage.plan import OURS, Profile
from qutils.lab.studies.coverage.pt2e import converted
from qutils.quantize.calibration import calibrate
from qutils.quantize.simulate import SimulatedModel

Figures = dict[str, Any]  # JSON
#: Below this SQNR [dB] the layer that loses it is named.
ENOUGH_DB = 20.0
FLOAT = "fp32"


class Subject:
    """An architecture with its inputs; files go into ``folder``. All of it is made when needed."""

    def __init__(self, name: str, size: Profile, folder: Path) -> None:
        self.name, self.size, self.folder = name, size, folder

    @cached_property
    def model(self) -> torch.nn.Module:
        """The network with random weights, the same in every process."""
        torch.manual_seed(self.size.seed)
        model = build(self.name)
        settle(model, inputs(self.name, self.size.calibration, self.size.seed + 1))
        return model

    @cached_property
    def calibration(self) -> Batch:
        """Inputs to calibrate on."""
        return inputs(self.name, self.size.calibration, self.size.seed + 2)

    @cached_property
    def samples(self) -> Batch:
        """Inputs to compare outputs on."""
        return inputs(self.name, self.size.samples, self.size.seed + 3)

    @cached_property
    def logits(self) -> Tensor:
        """First output of the float network on ``samples``."""
        with torch.no_grad():
            x = self.samples
            return _first(self.model(x) if isinstance(x, Tensor) else self.model(**x))

    @cached_property
    def simulated(self) -> SimulatedModel:
        """The network calibrated for ONNX Runtime at default settings."""
        return calibrate(self.model, self.calibration)

    def file(self, tool: str) -> Path:
        """Where the file of a tool goes."""
        return self.folder / f"{tool}.onnx"


def steps(size: Profile) -> dict[str, Callable[[Subject], Figures]]:
    """Return what is done with each architecture, in order; each gives figures as JSON."""
    found: dict[str, Callable[[Subject], Figures]] = {OURS: _ours, FLOAT: _float}
    for tool in size.peers:
        found[tool] = _torchao if tool == "torchao" else _peer(tool)
    return {**found, "latency": _latency}


def perform(step: Callable[[Subject], Figures], subject: Subject) -> Figures:
    """Return the figures of a step, or why it failed, word for word where the error is ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            return {"works": True, **step(subject)}
    except QutilsError as error:
        return {"works": False, "error": str(error)}
    except Exception as error:
        return {"works": False, "error": f"{type(error).__name__}: {first_line(error)}"}


def _ours(subject: Subject) -> Figures:
    sim = subject.simulated
    covered = sim.coverage
    with torch.no_grad():
        simulated = _first(sim(subject.samples))
    path = export(sim, subject.file(OURS))
    got = _run(path, subject.samples)
    found = _compared(subject.logits, got)
    low = found["sqnr_db"] is not None and found["sqnr_db"] < ENOUGH_DB
    return {
        **found,
        "simulated_sqnr_db": _db(subject.logits, simulated),
        "file_to_simulation_db": _db(simulated, got),
        "integer_share": covered.share,
        "islands": covered.islands,
        "in_float": sorted({op.op for op in covered.in_float}),
        "loses_at": steepest(sim, subject.samples) if low else "",
        "size_bytes": path.stat().st_size,
    }


def _float(subject: Subject) -> Figures:
    """The float file that peers start from: our captured graph, or PyTorch's own export."""
    path = subject.file(FLOAT)
    try:
        captured = subject.simulated.captured
        export_float(captured.module, captured.signature, path)
    except QutilsError:
        _by_pytorch(subject, path)
    return _compared(subject.logits, _run(path, subject.samples))


def _by_pytorch(subject: Subject, path: Path) -> None:
    """Write the float network with ``torch.onnx.export``, its batch open."""
    x, batch = subject.calibration, {0: torch.export.Dim.DYNAMIC}
    named = isinstance(x, Mapping)
    torch.onnx.export(
        subject.model,
        () if named else (x,),
        path,
        kwargs=dict(x) if named else None,
        dynamic_shapes=dict.fromkeys(x, batch) if named else (batch,),
        input_names=list(x) if named else None,
        dynamo=True,
        verbose=False,
        external_data=False,
    )


def _peer(tool: str) -> Callable[[Subject], Figures]:
    """The file of a tool; one that fails on our float file starts again from PyTorch's own."""

    def step(subject: Subject) -> Figures:
        try:
            return _made(tool, subject, subject.file(FLOAT))
        except QutilsError:
            own = subject.file(f"{tool}_source")
            _by_pytorch(subject, own)
            return _made(tool, subject, own)

    return step


def _made(tool: str, subject: Subject, source: Path) -> Figures:
    batches = [_arrays(subject.calibration)]
    path = peers.PEERS[tool](source, batches, subject.file(tool))
    found = _compared(subject.logits, _run(path, subject.samples))
    return {**found, "size_bytes": path.stat().st_size}


def _torchao(subject: Subject) -> Figures:
    quantized = converted(subject.model, subject.calibration)
    with torch.no_grad():
        x = subject.samples
        got = _first(quantized(x) if isinstance(x, Tensor) else quantized(**x))
    return _compared(subject.logits, got)


class _Fed:
    """A runtime that is timed on one sample of its own."""

    def __init__(self, path: Path, sample: Any) -> None:
        self.runtime, self.sample = runtimes.load(path, threads=1), sample
        self.threads = 1

    def run(self, batch: NDArray[Any]) -> object:
        return self.runtime.run(self.sample)


def _latency(subject: Subject) -> Figures:
    """One sample, one thread, all files in turns."""
    sample = _arrays(subject.samples, 1)
    files = {t: subject.file(t) for t in (FLOAT, OURS, *subject.size.peers)}
    fed = {tool: _Fed(path, sample) for tool, path in files.items() if path.is_file()}
    found = compare(fed, np.zeros((1, 1)), repeats=subject.size.repeats, warmup=2, warm=1)
    ratios: dict[str, float] = {}
    if FLOAT in fed:
        ratios = {tool: found.ratio(tool, FLOAT).median for tool in fed if tool != FLOAT}
    return {
        "median_ms": {tool: one.median_ms for tool, one in found.latencies.items()},
        "iqr_ms": {tool: one.iqr_ms for tool, one in found.latencies.items()},
        "over_fp32": ratios,
    }


def _run(path: Path, samples: Batch) -> Tensor:
    outputs = runtimes.load(path).run(_arrays(samples))
    first = next(iter(outputs.values())) if isinstance(outputs, Mapping) else outputs
    return torch.from_numpy(np.array(first)).float()


def _arrays(batch: Batch, count: int | None = None) -> Any:
    if isinstance(batch, Tensor):
        return batch[:count].numpy()
    return {name: x[:count].numpy() for name, x in batch.items()}


def _first(outputs: Any) -> Tensor:
    return next(iter(named_outputs(outputs).values())).detach().float()


def _compared(wanted: Tensor, got: Tensor) -> Figures:
    """SQNR [dB], and how often the largest of the classes is the same [%]."""
    axis = 1 if wanted.ndim in (2, 4) else -1
    same = (wanted.argmax(axis) == got.argmax(axis)).double().mean()
    return {"sqnr_db": _db(wanted, got), "agreement_percent": 100 * float(same)}


def _db(wanted: Tensor, got: Tensor) -> float | None:
    """SQNR [dB]; None if nothing differs, as JSON has no infinity."""
    value = sqnr_db(wanted, got)
    return value if math.isfinite(value) else None
