"""Explorer of the first page: one slider, from FP32 to two bits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qutils.evaluate.analysis import sqnr_db
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.subject import Outcome, Subject, zoo_subject
from qutils.lab.explorers.view import Fact, View
from qutils.lab.figures.explorers.start import StartData, StartPlot
from qutils.lab.figures.theme import model_label
from qutils.numerics import affine
from qutils.numerics.schemes import MAX_BITS, MIN_BITS, Recipe, Scheme

BITS = tuple(range(MIN_BITS, MAX_BITS + 1))
MODEL, LAYER = "resnet8", "stem.0"
#: Which test picture is looked at, and the filters whose answer to it is shown.
PICTURE, FILTERS = 28, 2


def recipe_of(bits: int) -> Recipe:
    """Weights per channel and activations in so many bits, ranges of least squared error."""
    weights = Scheme(bits, granularity="per_channel", observer="mse")
    return Recipe(weights, Scheme(bits, observer="mse"))


class StartExplorer(Explorer):
    """Bits -> a filter bank, what it sees in a picture, and the accuracy of the whole network.

    Every width is computed once, when the explorer is made.
    """

    title = "Fewer bits"

    def __init__(self, subject: Subject | None = None) -> None:
        self.subject = subject or zoo_subject(MODEL)
        self.outcomes: dict[int, Outcome] = {}
        self.maps: dict[int, Tensor] = {}  # [filters, H, W] of the picture
        for bits in BITS:
            self.outcomes[bits] = self.subject.outcome(recipe_of(bits))
            sim = self.subject.instant.simulate(recipe_of(bits))  # its ranges are known by now
            self.maps[bits] = _seen(sim.quantizers[LAYER], sim, self._picture)
        site = self.subject.sites[f"{LAYER}.weight"]
        self.weight = self.subject.observation.weight(site)  # [F, 1, h, w]
        self.floats = self.subject.kept.values[LAYER][PICTURE]
        self.liveliest = self.floats.std(dim=(1, 2)).topk(FILTERS).indices
        self.controls = (Control("bits", "Bits", BITS, 4),)
        self.plot = StartPlot(self._data(4))

    @property
    def _picture(self) -> Tensor:
        return self.subject.test.x[PICTURE : PICTURE + 1]

    def compute(self, **setting: Value) -> View:
        """Levels, accuracy, agreement and size at a width."""
        bits = int(setting["bits"])
        outcome = self.outcomes[bits]
        weight = affine.fake_quantize(self.weight, outcome.qparams[f"{LAYER}.weight"])
        low, high = outcome.interval
        facts = (
            Fact("levels", "Values a weight can take", 2**bits - 1),
            Fact("top1", f"Right, simulated, n = {outcome.n}", outcome.top1, "%", 1),
            Fact("interval", "95 % interval", f"{low:.1f} to {high:.1f} %"),
            Fact("float_top1", f"Right, FP32, n = {outcome.n}", self.subject.top1, "%", 1),
            Fact("agreement", "Same answer as FP32", outcome.agreement, "%", 1),
            Fact("sqnr_db", "SQNR of the filters", sqnr_db(self.weight, weight), "dB"),
            Fact("size_kb", "Size, estimated", outcome.size.total_bytes / 1000, "kB", 1),
            Fact("smaller", "Smaller than FP32, estimated", outcome.size.ratio, "times", 1),
        )
        return View(facts, _note(outcome, bits), self._alt(outcome, bits), data=self._data(bits))

    def _alt(self, outcome: Outcome, bits: int) -> str:
        return (
            f"Filters of the first layer and what {FILTERS} of them see in a picture, in FP32 and "
            f"in {bits} bits; accuracy against bits, {outcome.top1:.1f} % here, FP32 "
            f"{self.subject.top1:.1f} %"
        )

    def _data(self, bits: int) -> StartData:
        outcomes = [self.outcomes[b] for b in BITS]
        weight = affine.fake_quantize(self.weight, self.outcomes[bits].qparams[f"{LAYER}.weight"])
        return StartData(
            bits=bits,
            model=model_label(self.subject.name),
            picture=self._picture[0, 0].double().numpy(),
            filters=self.weight[:, 0].double().numpy(),
            maps=self.floats[self.liveliest].double().numpy(),
            few_filters=weight[:, 0].double().numpy(),
            few_maps=self.maps[bits][self.liveliest].double().numpy(),
            all_bits=np.array(BITS, dtype=float),
            top1=np.array([o.top1 for o in outcomes]),
            low=np.array([o.interval[0] for o in outcomes]),
            high=np.array([o.interval[1] for o in outcomes]),
            float_top1=self.subject.top1,
            n=outcomes[0].n,
        )


@torch.no_grad()
def _seen(quantizer: torch.nn.Module, sim: torch.nn.Module, x: Tensor) -> Tensor:
    """What a quantizer of a model puts out for one picture: ``[1, ...] -> [...]``."""
    found: list[Tensor] = []
    hook = quantizer.register_forward_hook(lambda _module, _args, y: found.append(y))
    try:
        sim(x)
    finally:
        hook.remove()
    return found[0][0]


def _note(outcome: Outcome, bits: int) -> str:
    """One sentence of what this width does."""
    low, high = outcome.gain.interval
    values = f"{2**bits - 1} values for every weight, {2**bits} for every activation"
    if low <= 0 <= high:
        return f"{values}: on {outcome.n} pictures the accuracy cannot be told from FP32's."
    if high < 0:
        return f"{values}: {-outcome.gain.points:.1f} points of accuracy are gone."
    return f"{values}: {outcome.gain.points:.1f} points better than FP32 on these pictures."
