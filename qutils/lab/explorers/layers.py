"""Explorer of a whole network under PTQ: what reaches each layer, and what comes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import numpy as np

from qutils.evaluate.analysis import layers_of, sqnr_db
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.subject import Outcome, Subject, zoo_subject
from qutils.lab.explorers.view import Fact, View
from qutils.lab.figures.explorers.layers import LayersData, LayersPlot
from qutils.lab.figures.theme import model_label
from qutils.numerics import affine
from qutils.numerics.observers import OBSERVERS
from qutils.numerics.schemes import GRANULARITIES, MAX_BITS, MIN_BITS, Granularity, Recipe, Scheme
from qutils.zoo import MODELS

#: Test pictures that score a setting.
PICTURES = 200
#: Weights that share a scale where granularity is ``per_group``.
GROUP_SIZE = 16


def recipe_of(weight_bits: int, activation_bits: int, observer: str, granularity: str) -> Recipe:
    """The recipe of a setting; the observer derives all ranges.

    >>> recipe_of(4, 8, "mse", "per_channel").label
    'W4A8'
    """
    size = GROUP_SIZE if granularity == "per_group" else None
    return Recipe(
        Scheme(weight_bits, granularity=cast(Granularity, granularity), group_size=size,
               observer=observer),
        Scheme(activation_bits, observer=observer),
    )  # fmt: skip


class LayersExplorer(Explorer):
    """Bits, observer and granularity of a network; SQNR of every layer, accuracy, agreement.

    Args:
        models: names in ``zoo.MODELS``. pictures: how many of their test pictures are scored.
    """

    title = "PTQ, layer by layer"
    ahead = ("weight_bits", "activation_bits", "observer", "granularity")

    def __init__(self, models: Sequence[str] = tuple(MODELS), pictures: int = PICTURES) -> None:
        self.pictures = pictures
        bits = tuple(range(MIN_BITS, MAX_BITS + 1))
        names, texts = tuple(models), tuple(map(model_label, models))
        self.controls = (
            Control("model", "Model", names, names[0], "menu", texts=texts),
            Control("weight_bits", "Weight bits", bits, 8, frames=(2, 3, 4, 8)),
            Control("activation_bits", "Activation bits", bits, 8, frames=(3, 4, 8)),
            Control("observer", "Observer", tuple(OBSERVERS), "mse", "menu",
                    frames=("minmax", "mse")),
            Control("granularity", "Granularity", GRANULARITIES, "per_channel", "menu",
                    frames=("per_tensor", "per_channel")),
        )  # fmt: skip
        self.plot = LayersPlot()
        self._outcome = lru_cache(maxsize=1024)(self._simulate)

    @classmethod
    def default(cls) -> LayersExplorer:
        """Few pictures: light."""
        return cls(pictures=100)

    def compute(self, **setting: Value) -> View:
        """SQNR by layer, accuracy and agreement of a setting, simulated."""
        model, *rest = (setting[control.name] for control in self.controls)
        subject = zoo_subject(str(model), self.pictures)
        recipe = recipe_of(int(rest[0]), int(rest[1]), str(rest[2]), str(rest[3]))
        outcome = self._outcome(str(model), recipe)
        data = _data(subject, outcome)
        n = outcome.n
        facts = (
            Fact("sqnr_db", "SQNR of the logits", outcome.logits_sqnr_db, "dB"),
            Fact("top1", f"Accuracy, {n} test pictures, simulated", outcome.top1, "%"),
            Fact("fp32", "FP32 on the same pictures", subject.top1, "%"),
            Fact("agreement", "Same class as FP32", outcome.agreement, "%"),
            Fact("lowest_db", f"Lowest layer, {outcome.worst.layer}", outcome.worst.sqnr_db, "dB"),
        )
        alt = (
            f"SQNR of every layer of {model_label(str(model))} under {recipe.label}, "
            f"{rest[2]}, {rest[3]}: from {data.outputs[0]:.0f} dB at the input to "
            f"{outcome.logits_sqnr_db:.0f} dB at the logits; accuracy {outcome.top1:.1f} %, "
            f"FP32 {subject.top1:.1f} %"
        )
        return View(facts, _note(data, outcome), alt, data=data)

    def _simulate(self, model: str, recipe: Recipe) -> Outcome:
        return zoo_subject(model, self.pictures).outcome(recipe)


def weights_sqnr_db(subject: Subject, outcome: Outcome) -> dict[str, float]:
    """SQNR [dB] of the rounded weights themselves, by layer."""
    found = {}
    for site in subject.sites.values():
        if site.role == "weight":
            weight = subject.weight(site, outcome)
            rounded = affine.fake_quantize(weight, outcome.qparams[site.name])
            found[site.layer] = sqnr_db(weight, rounded)
    return found


def _note(data: LayersData, outcome: Outcome) -> str:
    """Where the weights suffer and where the error shows, which is seldom the same layer."""
    known = {name: w for name, w in zip(data.layers, data.weights, strict=True) if w == w}
    weakest = min(known, key=lambda name: known[name])
    low, high = outcome.interval
    return (
        f"The weights that rounding hurts most are those of {weakest} ({known[weakest]:.1f} dB); "
        f"the lowest output is that of {outcome.worst.layer}, which carries the errors of all "
        f"layers before it. 95 % interval of the accuracy: {low:.1f} to {high:.1f} %."
    )


def _data(subject: Subject, outcome: Outcome) -> LayersData:
    outputs = {layer.layer: layer.sqnr_db for layer in outcome.layers}
    weights = weights_sqnr_db(subject, outcome)
    layers = list(layers_of(subject.instant.simulate(outcome.recipe)))
    outputs.setdefault(layers[-1], outcome.logits_sqnr_db)  # the last one makes the logits
    return LayersData(
        model=subject.name,
        layers=tuple(layers),
        outputs=np.array([outputs.get(name, math.nan) for name in layers]),
        weights=np.array([weights.get(name, math.nan) for name in layers]),
        fp32=subject.top1,
        top1=outcome.top1,
        interval=outcome.interval,
    )
