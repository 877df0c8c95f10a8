"""YOLO26's second head, whose boxes need no suppression: what INT8 costs it beside the first."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from qutils.backends import runtimes
from qutils.backends.runtimes import RUNTIMES
from qutils.detection.predict import EndToEnd, Prediction
from qutils.detection.quantize import export_detector, normalized
from qutils.detection.ultralytics import HEADS, Scores, Weights, as_detector, score
from qutils.lab.studies.detection.material import Material
from qutils.lab.studies.detection.plan import Profile
from qutils.lab.studies.detection.runs import FP32, OURS, Figures, bytes_of, quantized

ONE2MANY, ONE2ONE = HEADS


@dataclass(frozen=True)
class HeadScores:
    """What one head finds in float and in our INT8 file: the second without suppression.

    FP32 is the exporter's file in the same runtime; of the second head it is torch.
    """

    network: str
    runtime: str
    head: str
    fp32: Scores
    int8: Scores
    size_bytes: int  # of the INT8 file


def measure(material: Material, size: Profile, found: Sequence[Figures]) -> list[HeadScores]:
    """Both heads of each network that has two; the first as ``found`` with the other files."""
    two = [weights for weights in material.networks if weights.end_to_end]
    if not two:
        return []
    scores: list[HeadScores] = []
    with tqdm(total=len(two) * len(size.runtimes), desc="heads", unit="runtime") as bar:
        for weights in two:
            scores += _first(weights.path.stem, found)
            for one in _second(weights, material, size):
                scores.append(one)
                bar.update()
    return scores


def _first(network: str, found: Sequence[Figures]) -> Iterator[HeadScores]:
    made = {(f.runtime, f.maker): f for f in found if f.network == network}
    for (runtime, maker), ours in made.items():
        if maker == OURS:
            whole = made[runtime, FP32].scores
            yield HeadScores(network, runtime, ONE2MANY, whole, ours.scores, ours.size_bytes)


def _second(weights: Weights, material: Material, size: Profile) -> Iterator[HeadScores]:
    network = weights.path.stem
    data, pixels = material.data, size.size
    whole = Prediction(as_detector(weights, pixels, ONE2ONE))
    fp32 = score(EndToEnd(whole), data, pixels, end_to_end=True)
    for name in size.runtimes:
        with tempfile.TemporaryDirectory() as folder:
            sim = quantized(weights, name, material, size, ONE2ONE)
            path = Path(folder) / f"second{RUNTIMES[name].suffix}"
            file = runtimes.load(export_detector(sim, path, weights.names), name)
            found = Prediction(file, normalized(name))
            int8 = score(EndToEnd(found), data, pixels, end_to_end=True)
            yield HeadScores(network, name, ONE2ONE, fp32, int8, bytes_of(path))


def head_table(scores: Sequence[HeadScores]) -> pd.DataFrame:
    """Float and INT8 of each head: for reading."""
    return pd.DataFrame(
        [
            {
                "network": one.network,
                "runtime": one.runtime,
                "head": one.head,
                "suppression": "needed" if one.head == ONE2MANY else "none",
                "FP32, mAP50-95 [%]": f"{one.fp32.map50_95:.2f}",
                "INT8, mAP50-95 [%]": f"{one.int8.map50_95:.2f}",
                "lost [points]": f"{one.fp32.map50_95 - one.int8.map50_95:+.2f}",
            }
            for one in scores
        ]
    )
