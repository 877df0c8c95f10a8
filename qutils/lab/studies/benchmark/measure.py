"""The same network as three files, timed in turns and scored on the same pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qutils import zoo
from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.backends.shared.cpu import saturates
from qutils.backends.shared.onnx_writer import export_float
from qutils.evaluate import bench
from qutils.evaluate.bench.accuracy import wilson
from qutils.quantize.calibration import calibrate
from qutils.quantize.simulate import SimulatedModel

FLOAT, OURS, PEER = "FP32", "INT8 qutils", "INT8 quantize_static"
EXACT, DEFAULT = "exact", "default"
#: Calibration batches of the peer are as large as ours.
_BATCH = 128


@dataclass(frozen=True)
class Files:
    """One network: its float file, our INT8 file, the peer's, and our simulation."""

    model: str
    paths: dict[str, Path]  # by FLOAT, OURS, PEER
    sim: SimulatedModel


@dataclass(frozen=True)
class Timing:
    """Latency of one file in one session setting; ratios are paired by round."""

    model: str
    file: str
    session: str
    latency: bench.Latency
    over_float: bench.Ratio
    over_peer: bench.Ratio | None  # the peer in the same session setting; None for FP32
    over_exact: bench.Ratio  # the same file in the exact setting


@dataclass(frozen=True)
class Score:
    """Accuracy of one file in one session setting, and its agreement with our simulation."""

    model: str
    file: str
    session: str
    accuracy: bench.Accuracy
    agreement: float | None  # percent of equal predictions; None for files that are not ours


def sessions() -> tuple[str, ...]:
    """Session settings that differ on this CPU: only AVX2 without VNNI has saturating kernels."""
    return (EXACT, DEFAULT) if saturates() else (EXACT,)


def make_files(model: str, calibration_pictures: int, folder: Path) -> Files:
    """Write the three files of a zoo model: W8A8, minmax, per channel, the same pictures."""
    module, entry = zoo.load(model), zoo.entry(model)
    split = zoo.dataset(entry.dataset).calibration.take(calibration_pictures).batches(_BATCH)
    sim = calibrate(module, split)
    fp32 = export_float(module, entry.input_shape, folder / f"{model}.onnx")
    paths = {
        FLOAT: fp32,
        OURS: export(sim, folder / f"{model}.int8.onnx"),
        PEER: bench.quantize_static(
            fp32, (x.numpy() for x, _ in split), folder / f"{model}.quantize_static.onnx"
        ),
    }
    return Files(model, paths, sim)


def time_files(files: Files, batch: int, repeats: int, threads: int = 1) -> list[Timing]:
    """Time the three files in every session setting, all in turns within one run."""
    loaded = {key: _load(files, key, threads) for key in _keys()}
    dataset = zoo.dataset(zoo.entry(files.model).dataset)
    pictures = dataset.test.prepare(dataset.test.images[:batch]).numpy()
    found = bench.compare({_name(k): r for k, r in loaded.items()}, pictures, repeats=repeats)
    reference = _name((FLOAT, EXACT))
    return [
        Timing(
            files.model,
            file,
            session,
            found.latencies[_name((file, session))],
            over_float=found.ratio(_name((file, session)), reference),
            over_peer=found.ratio(_name((file, session)), _name((PEER, session)))
            if file != FLOAT
            else None,
            over_exact=found.ratio(_name((file, session)), _name((file, EXACT))),
        )
        for file, session in loaded
    ]


def score_files(files: Files, pictures: int) -> list[Score]:
    """Score the files on the first ``pictures`` of the test split, in every session setting."""
    test = zoo.dataset(zoo.entry(files.model).dataset).test.take(pictures)
    simulated = bench.predictions(bench.predict_with(files.sim), _inputs(test))
    scores = []
    for file, session in _keys():
        found = bench.predictions(_load(files, (file, session), 1).run, _inputs(test))
        agreement = bench.agreement(simulated, found) if file == OURS else None
        accuracy = _accuracy(found, test)
        scores.append(Score(files.model, file, session, accuracy, agreement))
    return scores


def _keys() -> list[tuple[str, str]]:
    """Every file in every setting; the setting means nothing to FP32."""
    return [(FLOAT, EXACT), *((file, s) for s in sessions() for file in (OURS, PEER))]


def _name(key: tuple[str, str]) -> str:
    return ", ".join(key)


def _load(files: Files, key: tuple[str, str], threads: int) -> runtimes.Runtime:
    file, session = key
    return runtimes.load(files.paths[file], threads=threads, exact=session == EXACT)


def _inputs(split: zoo.Split) -> Iterator[NDArray[Any]]:
    return (x.numpy() for x, _ in split)


def _accuracy(found: NDArray[np.int64], split: zoo.Split) -> bench.Accuracy:
    hits, n = int((found == split.labels.numpy()).sum()), len(split)
    return bench.Accuracy(top1=100 * hits / n, n=n, interval=wilson(hits, n))
