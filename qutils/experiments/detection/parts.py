"""Where the error of a detector sits: part by part, layer by layer, before any file is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from torch import nn
from tqdm.auto import tqdm

from qutils.analysis.layers import compare_layers, float_activations
from qutils.detection.parts import PARTS, OneScale, part_of, rounded_only
from qutils.detection.predict import PictureFiles, Prediction, read_pictures
from qutils.detection.quantize import observe_detector
from qutils.detection.ultralytics import Weights, as_detector, score
from qutils.experiments.detection.material import Material
from qutils.experiments.detection.plan import Profile
from qutils.experiments.detection.runs import Distance, distance, recipe

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
class Layer:
    """SQNR [dB] of one activation, with all that reached it from the layers before."""

    network: str
    layer: str
    part: str
    place: int
    sqnr_db: float


def part_errors(material: Material, size: Profile) -> list[PartError]:
    """Each network with one part rounded at a time, and with its output on one 8-bit scale."""
    found: list[PartError] = []
    scored = material.data.only("val", material.data.pictures("val")[:SCORED])
    watched = read_pictures(scored.pictures("val")[:COMPARED], size.size)
    with tqdm(total=len(material.networks) * (len(PARTS) + 3), desc="parts", unit="part") as bar:
        for weights in material.networks:
            models = _variants(weights, material.pictures, size)
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


def _variants(weights: Weights, pictures: PictureFiles, size: Profile) -> dict[str, nn.Module]:
    detector = as_detector(weights, size.size)
    sim = observe_detector(detector, pictures, _TARGET).simulate(recipe(size))
    return {
        "nothing": detector,
        **{part: rounded_only(sim, [part]) for part in PARTS},
        EVERYTHING: sim,
        ONE_SCALE: OneScale(detector, pictures, size.size),
    }


def layers(material: Material, size: Profile) -> list[Layer]:
    """SQNR of every activation of each network, in order of execution."""
    x = read_pictures(material.data.pictures("val")[:COMPARED], size.size)
    found = []
    for weights in material.networks:
        kept = observe_detector(as_detector(weights, size.size), material.pictures, _TARGET)
        activations = float_activations(kept.captured, kept.placement, x)
        compared = compare_layers(activations, kept.simulate(recipe(size))).layers
        for place, one in enumerate(compared):
            stem, part = weights.path.stem, part_of(one.layer)
            found.append(Layer(stem, one.layer, part, place, one.sqnr_db))
    return found


def layer_table(found: Sequence[Layer]) -> pd.DataFrame:
    """A row for each activation."""
    return pd.DataFrame([vars(one) for one in found])
