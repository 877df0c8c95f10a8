"""Explorer of quantization-aware training: what each step changed in a layer's weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from qutils import zoo
from qutils.errors import InvalidInputError
from qutils.evaluate import bench
from qutils.evaluate.analysis.sqnr import sqnr_db
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.material import observation
from qutils.lab.explorers.subject import ZOO_THREADS, with_threads
from qutils.lab.explorers.view import Fact, View
from qutils.lab.figures.explorers.qat import QatData, QatPlot
from qutils.numerics import affine
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.qat import LayerState, Recorder, Snapshot, finetune

BINS = 140
BETWEEN_BINS = 24
#: Steps that a page without a kernel offers.
FRAMES = 9


@dataclass(frozen=True)
class Run:
    """One recorded training: snapshots from the start (PTQ) on, scored on ``pictures`` pictures."""

    recipe: Recipe
    snapshots: Sequence[Snapshot]
    fp32: float  # accuracy [%] of the float model on the same pictures
    pictures: int

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps at which there is a snapshot."""
        return tuple(snapshot.step for snapshot in self.snapshots)


class QatExplorer(Explorer):
    """Step through recorded trainings: weights on the grid, moved mass, learning curve.

    Args:
        runs: one for each number of weight bits, recorded at the same steps and layers.

    Raises:
        InvalidInputError: no runs, two of the same weight bits, or other steps or layers.
    """

    title = "Quantization-aware training, step by step"
    ahead = ("layer", "bits")

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = _by_bits(runs)
        bits, first = tuple(self.runs), next(iter(self.runs.values()))
        states, steps = first.snapshots[0].layers, first.steps
        layers = tuple(states)
        largest = max(layers, key=lambda name: states[name].latent.numel())
        labels = tuple(run.recipe.label for run in self.runs.values())
        self.controls = (
            Control("bits", "Bits", bits, bits[0], texts=labels),
            Control("layer", "Layer", layers, largest, "menu", texts=layers,
                    frames=tuple(dict.fromkeys((layers[0], largest, layers[-1])))),
            Control("step", "Step", steps, steps[-1], frames=spread(steps, FRAMES)),
        )  # fmt: skip
        self.plot = QatPlot()

    @classmethod
    def default(cls) -> QatExplorer:
        """A few steps on few pictures: light, and the same each time."""
        return cls(short_runs())

    def compute(self, **setting: Value) -> View:
        """Loss, accuracy and what became of the weights at a step."""
        run = self.runs[int(setting["bits"])]
        at, layer = run.steps.index(int(setting["step"])), str(setting["layer"])
        snapshot, first = run.snapshots[at], run.snapshots[0]
        start, now = first.layers[layer], snapshot.layers[layer]
        changed = (now.integers != start.integers).numpy()
        back = 100 * now.reversals / now.moves if now.moves else 0.0
        loss = "not trained yet" if math.isnan(snapshot.loss) else snapshot.loss
        facts = (
            Fact("loss", "Training loss", loss, "" if at == 0 else "nats", 3),
            Fact("accuracy", f"Accuracy, {run.pictures} test pictures, simulated",
                 snapshot.score, "%"),
            Fact("changed", "Weights with another integer", 100.0 * float(changed.mean()), "%"),
            Fact("moves", "Changes of integer so far, per weight", now.moves / changed.size),
            Fact("back", "of these, back the way it came", back, "%", 0),
            Fact("sqnr_db", "SQNR to the float weights", weight_sqnr_db(start, now), "dB"),
        )  # fmt: skip
        alt = (
            f"Latent weights of {layer} on the grid of {run.recipe.label} after "
            f"{snapshot.step} steps, beside those before training; right, training loss and "
            f"accuracy by step"
        )
        data = _data(run, layer, at, changed)
        return View(facts, _note(run, at, layer), alt, data=data)


def weight_sqnr_db(start: LayerState, now: LayerState) -> float:
    """SQNR [dB] of the weights in use against the float weights that training started from."""
    return sqnr_db(start.latent, affine.dequantize(now.integers, now.q))


def spread(options: Sequence[Value], count: int) -> tuple[Value, ...]:
    """At most ``count`` options, evenly spread, first and last among them.

    >>> spread((0, 10, 20, 30, 40), 3)
    (0, 20, 40)
    """
    places = np.linspace(0, len(options) - 1, min(count, len(options))).round().astype(int)
    return tuple(options[place] for place in places)


@lru_cache(maxsize=1)
def short_runs() -> tuple[Run, ...]:
    """ResNet-8 trained for 8 steps of 32 pictures in 2, 4 and 8 bits."""
    data = zoo.dataset("fashion_mnist")
    kept, test = observation("resnet8"), data.test.take(100)
    arrays = [(x.numpy(), y.numpy()) for x, y in test]

    def top1(model: nn.Module) -> float:
        return bench.evaluate(bench.predict_with(model), arrays).top1

    runs = []
    with with_threads(ZOO_THREADS):
        fp32 = top1(zoo.load("resnet8"))
        for bits in (2, 4, 8):
            scheme = Scheme(bits, granularity="per_channel", observer="mse")
            sim = kept.simulate(Recipe(scheme, Scheme(observer="mse")))
            recorder = Recorder(sim, limit=5, score=top1)
            train = data.train.take(256)
            finetune(sim, train, epochs=1, batch_size=32, progress=False, on_step=recorder)
            runs.append(Run(sim.recipe, recorder.snapshots, fp32, len(test)))
    return tuple(runs)


def _by_bits(runs: Sequence[Run]) -> Mapping[int, Run]:
    if not runs:
        raise InvalidInputError("there is no training to show: record at least one")
    found = {run.recipe.weights.bits: run for run in runs}
    if len(found) != len(runs):
        raise InvalidInputError("two runs have the same weight bits: give one run each")
    shapes = {(run.steps, tuple(run.snapshots[0].layers)) for run in runs}
    if len(shapes) != 1:
        raise InvalidInputError("the runs differ in steps or layers: record them alike")
    return found


def _note(run: Run, at: int, layer: str) -> str:
    """What to see at this step, from the numbers."""
    first, snapshot = run.snapshots[0], run.snapshots[at]
    if at == 0:
        return (
            "This is the PTQ model: every weight lies where the float network had it. Move the "
            "step to see what training does with it."
        )
    gained = snapshot.score - first.score
    before = weight_sqnr_db(first.layers[layer], first.layers[layer])
    after = weight_sqnr_db(first.layers[layer], snapshot.layers[layer])
    changed = f"Accuracy {gained:+.1f} points on PTQ; the layer's weights lie"
    if f"{after:.2f}" == f"{before:.2f}":
        return f"{changed} as far from the float weights as at the start: {after:.2f} dB."
    way = "further from" if after < before else "closer to"
    return (
        f"{changed} {way} the float weights than at the start: {after:.2f} dB, before "
        f"{before:.2f} dB."
    )


def _data(run: Run, layer: str, at: int, changed: NDArray[np.bool_]) -> QatData:
    start, now = run.snapshots[0].layers[layer], run.snapshots[at].layers[layer]
    qmax = start.q.qmax
    a_step = max(1, round(BINS / (2 * qmax + 3)))  # bins in a step of the grid
    edges = np.linspace(-qmax - 1.5, qmax + 1.5, (2 * qmax + 3) * a_step + 1)
    before, here = (_inside(state, edges) for state in (start, now))
    between = np.linspace(-0.5, 0.5, BETWEEN_BINS + 1)
    return QatData(
        run=f"{run.recipe.label} {layer}",
        qmax=qmax,
        edges=edges,
        start=np.histogram(before, edges)[0].astype(float),
        now=np.histogram(here, edges)[0].astype(float),
        moved=np.histogram(here[changed.ravel()], edges)[0].astype(float),
        between=between,
        moved_share=_moved_share(start, now, between),
        most=float(_moved_share(start, run.snapshots[-1].layers[layer], between).max()),
        steps=np.array(run.steps, float),
        losses=np.array([snapshot.loss for snapshot in run.snapshots]),
        accuracies=np.array([snapshot.score for snapshot in run.snapshots]),
        fp32=run.fp32,
        at=at,
    )


def _inside(state: LayerState, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions ``[N]``; those beyond the picture stand at its edge."""
    margin = 1e-6
    position = state.position.double().numpy().ravel()
    return cast(NDArray[np.float64], position.clip(edges[0] + margin, edges[-1] - margin))


def _moved_share(
    start: LayerState, now: LayerState, between: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Percent of the weights that have another integer now, by distance to the nearest integer.

    Of the weights that are not clipped; 0 where there are none.
    """
    position = now.position.double().numpy()
    inside = np.abs(position) <= now.q.qmax + 0.5
    offset = position - position.round()
    moved = (now.integers != start.integers).numpy()
    there = np.histogram(offset[inside], between)[0]
    changed = np.histogram(offset[inside & moved], between)[0]
    share: NDArray[np.float64] = 100.0 * changed / np.maximum(there, 1)
    return share
