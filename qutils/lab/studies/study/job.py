"""One job from start to score; runs in a worker process, keeps what it made in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from qutils import zoo
from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.backends.shared.onnx_writer import export_float
from qutils.evaluate import bench
from qutils.files import checksums
from qutils.lab.results.cache import Cache, source_digest
from qutils.lab.studies.study.plan import Job
from qutils.quantize import checkpoint
from qutils.quantize.calibration import Observation, observe
from qutils.quantize.qat import finetune
from qutils.quantize.simulate import SimulatedModel

#: What a job's numbers depend on besides its setting; of ``bench`` what scores, since sizes and
#: latencies are not kept.
SOURCES = (
    "qutils.backends",
    "qutils.discovery",
    "qutils.evaluate.bench.accuracy",
    "qutils.feed",
    "qutils.graph",
    "qutils.images",
    "qutils.interrupt",
    "qutils.isolated",
    "qutils.nested",
    "qutils.numerics",
    "qutils.quantize",
    "qutils.reading",
    "qutils.zoo",
    "qutils.lab.studies.study.job",
    "qutils.lab.studies.study.plan",
)
VERSIONS = ("torch", "torchao", "numpy", "onnx", "onnx_ir", "onnxscript", "onnxruntime")


def job_key(job: Job) -> dict[str, object]:
    """Cache key: the setting, and checksums of code, data, weights and library versions."""
    entry = zoo.entry(job.model)
    return {
        "job": job.key(),
        "source": source_digest(*SOURCES),
        "weights": checksums(entry.checkpoint.parent)[entry.checkpoint.name],
        "data": checksums(zoo.data_folder(entry.dataset)),
        "versions": {name: metadata.version(name) for name in VERSIONS},
    }


def run_job(job: Job, cache: Cache, progress: bool = False) -> dict[str, Any]:
    """Outcome of a job, from the cache where it is still valid.

    ``top1_simulated``, ``top1_integer``, ``agreement`` (percent of equal predictions), ``n``,
    ``file`` (exported model), ``state`` (weights, biases, scales and zero points of a network
    trained by QAT, safetensors) and ``curve``; what a method does not have is None.
    """
    key = job_key(job)
    outcome: dict[str, Any] = cache.get_or_compute(key, lambda: _compute(job, cache, key, progress))
    return outcome


def is_cached(job: Job, cache: Cache) -> bool:
    """Whether ``run_job`` would find the outcome in the cache, with its files."""
    outcome = cache.peek(job_key(job))
    return outcome is not None and has_files(outcome)


def has_files(outcome: Mapping[str, Any]) -> bool:
    """Whether the exported model and the trained state of an outcome are still there."""
    files = [outcome[name] for name in ("file", "state") if outcome[name]]
    return all(Path(file).is_file() for file in files)


def _compute(job: Job, cache: Cache, key: dict[str, object], progress: bool) -> dict[str, Any]:
    torch.set_num_threads(1)
    test = _take(zoo.dataset(zoo.entry(job.model).dataset).test, job.test_pictures)
    model = zoo.load(job.model)
    if job.method == "fp32":
        return _float_outcome(job, cache, key, model, test)
    sim = _observed(job.model, job.calibration_pictures, job.seed).simulate(job.recipe)
    if job.method == "qat":
        sim = _train(job, cache, key, sim, progress)
    sim.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # scored faster so
    simulated = bench.predictions(bench.predict_with(sim), _inputs(test))
    sim.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    outcome: dict[str, Any] = {
        "top1_simulated": _top1(simulated, test),
        "n": len(test),
        "top1_integer": None,
        "agreement": None,
        "file": None,
        "state": None,
        "curve": [asdict(point) for point in sim.curve],
    }
    if job.method == "qat":
        state = cache.file(key, ".safetensors", lambda p: _discard(checkpoint.save(sim, p)))
        outcome["state"] = str(state)
    if job.exportable:
        path = cache.file(key, ".onnx", lambda p: _write(sim, p))
        integer = bench.predictions(runtimes.load(path).run, _inputs(test))
        outcome |= {
            "top1_integer": _top1(integer, test),
            "agreement": bench.agreement(simulated, integer),
            "file": str(path),
        }
    return outcome


def _float_outcome(
    job: Job, cache: Cache, key: dict[str, object], model: nn.Module, test: zoo.Split
) -> dict[str, Any]:
    shape = zoo.entry(job.model).input_shape
    path = cache.file(key, ".onnx", lambda p: _discard(export_float(model, shape, p)))
    found = bench.predictions(runtimes.load(path).run, _inputs(test))
    return {
        "top1_float": _top1(found, test),
        "n": len(test),
        "file": str(path),
        "state": None,
        "curve": [],
    }


def _train(
    job: Job, cache: Cache, key: dict[str, object], sim: SimulatedModel, progress: bool
) -> SimulatedModel:
    train = _take(zoo.dataset(zoo.entry(job.model).dataset).train, job.train_pictures)
    return finetune(
        sim,
        train,
        epochs=job.epochs,
        seed=job.seed,
        resume=cache.scratch(key, ".run"),
        batch_size=min(64, len(train)),
        progress=progress,
    )


@lru_cache(maxsize=2)
def _observed(model: str, pictures: int, seed: int) -> Observation:
    """Calibration on ``pictures`` drawn from the calibration split by ``seed``."""
    split = zoo.dataset(zoo.entry(model).dataset).calibration
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(split))[:pictures])
    drawn = replace(split, images=split.images[order], labels=split.labels[order])
    return observe(zoo.load(model), drawn)


def _take(split: zoo.Split, pictures: int | None) -> zoo.Split:
    return split if pictures is None else split.take(pictures)


def _inputs(split: zoo.Split) -> Iterator[np.ndarray[Any, Any]]:
    return (x.numpy() for x, _ in split)


def _top1(predicted: np.ndarray[Any, Any], split: zoo.Split) -> float:
    return float(100 * np.mean(predicted == split.labels.numpy()))


def _write(sim: SimulatedModel, path: Path) -> None:
    export(sim, path)


def _discard(_: Path) -> None:
    return None
