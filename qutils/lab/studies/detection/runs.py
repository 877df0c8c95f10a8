"""One network in every runtime: FP32, Ultralytics' INT8 and ours, scored and timed in one run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from qutils.backends import runtimes
from qutils.backends.runtimes import RUNTIMES
from qutils.detection.predict import PictureFiles, Prediction, read_pictures
from qutils.detection.process import EXPORTS
from qutils.detection.qat import finetune_detector
from qutils.detection.quantize import calibrate_detector, export_detector, normalized
from qutils.detection.reference import export_reference
from qutils.detection.ultralytics import HEADS, Scores, Weights, as_detector, score
from qutils.evaluate.bench.latency import Latency, Ratio, compare
from qutils.evaluate.explain import Explanation, explain
from qutils.lab.studies.detection.material import Material
from qutils.lab.studies.detection.plan import Profile
from qutils.quantize.simulate import SimulatedModel

#: Who made a file; always in this order.
FP32, THEIRS, OURS, TRAINED = "FP32", "Ultralytics INT8", "qutils INT8", "qutils INT8, QAT"
#: Pictures on which predictions are compared with the float network's.
COMPARED = 128
#: Probability from which on the float network is taken to see something.
SEEN = 0.25
#: Calls in which operators are timed one by one, at most.
_COUNTED = 30


@dataclass(frozen=True)
class Distance:
    """How far predictions are from FP32's where that sees something: root mean squares.

    ``box`` [pixels] over the four numbers of a box, ``probability`` over the classes; over
    ``places`` places.
    """

    box: float
    probability: float
    places: int


@dataclass(frozen=True)
class Figures:
    """One file in one runtime: how well it finds, how large it is, how long it takes.

    ``over_fp32`` and ``over_theirs`` are paired ratios of latency; None for the base itself.
    """

    network: str
    runtime: str
    maker: str
    scores: Scores
    distance: Distance | None  # None for FP32, and where that sees nothing
    size_bytes: int
    latency: Latency
    over_fp32: Ratio | None
    over_theirs: Ratio | None
    kernels: tuple[tuple[str, int], ...]
    why: Explanation | None = None  # of ONNX Runtime's files: where the time goes
    spent: tuple[tuple[str, float], ...] = ()  # where it counts: milliseconds by layer and kernel


def measure(material: Material, size: Profile) -> list[Figures]:
    """Export, score and time everything, with progress."""
    found: list[Figures] = []
    total = len(material.networks) * len(size.runtimes)
    with tqdm(total=total, desc="detectors", unit="runtime") as bar:
        for weights in material.networks:
            for runtime in size.runtimes:
                bar.set_postfix_str(f"{weights.path.stem} {runtime}")
                found += _measure(weights, runtime, material, size)
                bar.update()
    return found


def _measure(weights: Weights, name: str, material: Material, size: Profile) -> Iterator[Figures]:
    with tempfile.TemporaryDirectory() as folder:
        files = _files(weights, name, Path(folder), material, size)
        loaded = {maker: runtimes.load(path, name) for maker, path in files.items()}
        picture = material.pictures[:1].numpy()
        timed = compare(loaded, picture, repeats=size.repeats)
        calls = min(size.repeats, _COUNTED)
        spent = {maker: file.spent(picture, calls) for maker, file in loaded.items()}  # at once
        predict = {m: Prediction(r, normalized(name)) for m, r in loaded.items()}
        watched = read_pictures(material.data.pictures("val")[:COMPARED], size.size)
        wanted = predict[FP32](watched)
        for maker in loaded:
            other = maker != FP32
            yield Figures(
                weights.path.stem,
                name,
                maker,
                score(predict[maker], material.data, size.size),
                distance(predict[maker](watched), wanted) if other else None,
                bytes_of(files[maker]),
                timed.latencies[maker],
                timed.ratio(maker, FP32) if other else None,
                timed.ratio(maker, THEIRS) if maker in (OURS, TRAINED) else None,
                tuple(loaded[maker].kernels().most_common()),
                _why(files[maker], name, picture, size),
                tuple(spent[maker].items()),
            )


def _why(path: Path, runtime: str, picture: NDArray[Any], size: Profile) -> Explanation | None:
    if runtime != "onnxruntime":
        return None
    return explain(path, batch=picture, runs=min(size.repeats, _COUNTED))


def _files(
    weights: Weights, name: str, folder: Path, material: Material, size: Profile
) -> dict[str, Path]:
    """Make the files to compare, by maker: the exporter's FP32 and INT8, and ours.

    The exporter has a process of its own, so that ours are made meanwhile.
    """
    with ThreadPoolExecutor(1) as beside:
        theirs = beside.submit(_theirs, weights, name, folder, material, size)
        try:
            ours = _ours(weights, name, folder, material, size)
        except BaseException:
            EXPORTS.end()  # nobody waits for them any longer
            raise
        return {**theirs.result(), **ours}


def _theirs(
    weights: Weights, name: str, folder: Path, material: Material, size: Profile
) -> dict[str, Path]:
    return {
        FP32: export_reference(weights.path, name, folder, size=size.size),
        THEIRS: export_reference(weights.path, name, folder, size=size.size, data=material.data),
    }


def _ours(
    weights: Weights, name: str, folder: Path, material: Material, size: Profile
) -> dict[str, Path]:
    suffix = RUNTIMES[name].suffix
    sim = quantized(weights, name, material, size)
    files = {OURS: export_detector(sim, folder / f"ours{suffix}", weights.names)}
    if size.qat_epochs and name in size.qat_runtimes:
        chosen = material.data.pictures("train")[: size.qat_pictures]
        detector = as_detector(weights, size.size, normalized=normalized(name))
        pictures = PictureFiles(chosen, size.size)
        trained = finetune_detector(sim, detector, pictures, epochs=size.qat_epochs)
        files[TRAINED] = export_detector(trained, folder / f"trained{suffix}", weights.names)
    return files


def quantized(
    weights: Weights, runtime: str, material: Material, size: Profile, head: str = HEADS[0]
) -> SimulatedModel:
    """W8A8, ranges by the profile's observer, biases corrected; nothing is trained."""
    detector = as_detector(weights, size.size, head, normalized=normalized(runtime))
    graph = material.graph(weights, head, size.size)
    return calibrate_detector(
        detector, material.pictures, runtime, observer=size.observer, graph=graph
    )


def distance(found: Tensor, wanted: Tensor) -> Distance | None:
    """How far ``found`` is from FP32's predictions ``[N, 4 + classes, A]``, boxes in pixels.

    None if the float network sees nothing on these pictures.
    """
    seen = wanted[:, 4:].amax(1) > SEEN
    error = (found - wanted).permute(0, 2, 1)[seen]  # [places, 4 + classes]
    if not len(error):
        return None
    box, probability = (rms(part) for part in (error[:, :4], error[:, 4:]))
    return Distance(box, probability, len(error))


def bytes_of(path: Path) -> int:
    """Size of a file; of OpenVINO's format both files."""
    files = [path, *([path.with_suffix(".bin")] if path.suffix == ".xml" else [])]
    return sum(file.stat().st_size for file in files)


def rms(error: Tensor) -> float:
    """Root mean square."""
    return float(torch.sqrt(error.square().mean()))
