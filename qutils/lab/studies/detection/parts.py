"""Where the error of a detector sits: part by part, layer by layer, before any file is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from torch import nn
from tqdm.auto import tqdm

from qutils.detection.parts import PARTS, OneScale, part_of, rounded_only
from qutils.detection.predict import PictureFiles, Prediction, read_pictures
from qutils.detection.quantize import observe_detector
from qutils.detection.ultralytics import HEADS, Weights, as_detector, score
from qutils.evaluate.analysis.layers import compare_layers, float_activations
from qutils.lab.studies.detection.material import Material
from qutils.lab.studies.detection.plan import Profile
from qutils.lab.studies.detection.runs import Distance, distance
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import Observation

#: Pictures on which simulated networks are scored, and on which layers are compared.
SCORED, COMPARED = 256, 32
EVERYTHING = "everything"
ONE_SCALE = "output by one scale"
#: Where ranges are placed for: no kernel's peculiarities, decoding in float.
_TARGET = "onnxruntime"


@dataclass(frozen=True)
class PartError:
    """What rounding one part alone costs, simulated: points of mAP50-95, and the distance."""

    network: str
    part: str
    map50_95: float
    lost: float  # points below the float network on the same pictures
    distance: Distance | None


@dataclass(frozen=True)
class LayerError:
    """SQNR [dB] of one activation, with all that reached it from the layers before."""

    network: str
    layer: str
    part: str
    place: int
    sqnr_db: float


def observe(material: Material, size: Profile) -> list[Observation]:
    """Each network, observed once for all that follows."""
    return [
        observe_detector(
            as_detector(weights, size.size),
            material.pictures,
            _TARGET,
            graph=material.graph(weights, HEADS[0], size.size),
        )
        for weights in material.networks
    ]


def part_errors(
    material: Material, size: Profile, observed: Sequence[Observation]
) -> list[PartError]:
    """Each network with one part rounded at a time, and with its output on one 8-bit scale."""
    found: list[PartError] = []
    scored = material.data.only("val", material.data.pictures("val")[:SCORED])
    watched = read_pictures(scored.pictures("val")[:COMPARED], size.size)
    with tqdm(total=len(material.networks) * (len(PARTS) + 3), desc="parts", unit="part") as bar:
        for weights, kept in zip(material.networks, observed, strict=True):
            models = _variants(weights, kept, material.pictures, size)
            whole = float("nan")
            for part, model in models.items():
                predict = Prediction(model)
                scores = score(predict, scored, size.size)
                if part == "nothing":
                    whole, wanted = scores.map50_95, predict(watched)
                else:
                    away = distance(predict(watched), wanted)
                    lost = whole - scores.map50_95
                    found.append(PartError(weights.path.stem, part, scores.map50_95, lost, away))
                bar.update()
    return found


def _variants(
    weights: Weights, kept: Observation, pictures: PictureFiles, size: Profile
) -> dict[str, nn.Module]:
    detector = as_detector(weights, size.size)
    sim = kept.simulate(Recipe.w8a8(size.observer))
    return {
        "nothing": detector,
        **{part: rounded_only(sim, [part]) for part in PARTS},
        EVERYTHING: sim,
        ONE_SCALE: OneScale(detector, pictures, size.size),
    }


def layers(material: Material, size: Profile, observed: Sequence[Observation]) -> list[LayerError]:
    """SQNR of every activation of each network, in order of execution."""
    x = read_pictures(material.data.pictures("val")[:COMPARED], size.size)
    found = []
    for weights, kept in zip(material.networks, observed, strict=True):
        activations = float_activations(kept.captured, kept.placement, x)
        compared = compare_layers(activations, kept.simulate(Recipe.w8a8(size.observer))).layers
        for place, one in enumerate(compared):
            stem, part = weights.path.stem, part_of(one.layer)
            found.append(LayerError(stem, one.layer, part, place, one.sqnr_db))
    return found


def layer_table(found: Sequence[LayerError]) -> pd.DataFrame:
    """A row for each activation."""
    return pd.DataFrame([vars(one) for one in found])
