"""A network on the table: observed once, its float answers kept, any recipe scored in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

from qutils import zoo
from qutils.cores import core_count
from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import (
    EstimatedSize,
    Flip,
    InstantModel,
    LayerSqnr,
    compare_layers,
    estimated_size,
    flips,
    float_activations,
    sqnr_db,
)
from qutils.evaluate.bench import Gain, agreement, gain
from qutils.evaluate.bench.accuracy import wilson
from qutils.files import intact
from qutils.graph import Site, Target
from qutils.graph.coverage import coverage
from qutils.graph.nodes import stored
from qutils.numerics.affine import QParams
from qutils.numerics.observers.statistic import Statistic
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import Observation, observe
from qutils.quantize.simulate import SimulatedModel
from qutils.zoo import QatCheckpoint

#: Test pictures that score a setting, and calibration pictures that give its ranges.
PICTURES, CALIBRATION = 500, 256
#: Pictures of one simulated pass; the first such batch also gives the SQNR of each layer.
CHUNK = 100
#: Float activations of that batch take at most this many bytes.
KEPT_BYTES = 64_000_000
#: Layers of the shipped networks are small: more threads would wait for each other, and on a busy
#: machine they wait ten times as long as they compute.
ZOO_THREADS = 1
_WORKERS = ThreadPoolExecutor(min(4, core_count()))


@dataclass(frozen=True)
class Labelled:
    """Pictures to score: ``x [N, ...]`` as the network takes them, ``labels [N]``, class names."""

    x: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.labels.shape != (len(self.x),) or len(self.x) == 0:
            raise InvalidInputError(
                f"{len(self.x)} pictures come with labels of shape {list(self.labels.shape)}: "
                "give one label for each"
            )


@dataclass(frozen=True)
class Outcome:
    """What one simulated pass over all pictures says about a setting; percent of ``n``.

    ``layers`` is of the first ``layer_pictures`` alone. ``qparams`` are those that computed, by
    site name, ``statistics`` what calibration pictures make of each activation before it is
    quantized; ``sim`` is kept where it has weights of its own (QAT).
    """

    recipe: Recipe
    target: Target
    n: int
    top1: float
    interval: tuple[float, float]  # 95 %, Wilson
    gain: Gain  # over FP32, on the same pictures
    agreement: float  # with FP32
    logits_sqnr_db: float
    layers: tuple[LayerSqnr, ...]
    flips: tuple[Flip, ...]
    size: EstimatedSize
    qparams: dict[str, QParams] = field(repr=False, compare=False)
    statistics: dict[str, Statistic] = field(repr=False, compare=False)
    sim: SimulatedModel | None = field(default=None, repr=False, compare=False)

    @property
    def worst(self) -> LayerSqnr:
        """The layer of the lowest SQNR."""
        return min(self.layers, key=lambda layer: layer.sqnr_db)


class Subject:
    """One network, its calibration done and its float answers kept.

    Memory: the pictures, and the float activations of one batch (at most ``KEPT_BYTES``).

    Raises:
        InvalidInputError: pictures that the network does not take, labels beyond its classes.
        UnsupportedError: as ``observe``.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        calibration: Tensor,
        test: Labelled,
        threads: int | None = None,
    ) -> None:
        self.name, self.test, self.threads = name, test, threads
        self.calibration = calibration
        with torch.no_grad(), with_threads(threads):
            self.observation: Observation = observe(model, calibration)
            self.instant = InstantModel(self.observation)
            captured, placement = self.observation.captured, self.observation.placement
            self.coverage = coverage(captured.module, placement)
            one = float_activations(captured, placement, test.x[:1])
            self.layer_pictures = min(CHUNK, len(test.x), max(1, KEPT_BYTES // one.nbytes))
            self.kept = float_activations(captured, placement, test.x[: self.layer_pictures])
            rest = [captured.module(x) for x in self._rest()]
            self.logits = torch.cat([self.kept.logits, *rest])
        self._check_logits()
        self.top1 = 100 * int(self._hits(self.logits).sum()) / len(self.logits)

    @property
    def sites(self) -> dict[str, Site]:
        """All quantized tensors by name, in order of execution."""
        return {site.name: site for site in self.observation.placement.sites.values()}

    def outcome(self, recipe: Recipe) -> Outcome:
        """PTQ of a recipe, simulated on every picture.

        Raises: as ``Observation.simulate``.
        """
        with with_threads(self.threads):
            sim = self.instant.simulate(recipe)
        return self.outcome_of(sim)

    def trained(self, made: QatCheckpoint) -> SimulatedModel:
        """``zoo.load_quantized`` of a checkpoint of this network, without tracing it again.

        Raises:
            DataError: the checkpoint is missing, corrupt, truncated or of another network.
        """
        with with_threads(self.threads):
            sim = self.instant.simulate(made.recipe).copy()
            zoo.load_weights(sim, intact(made.path))
        return sim.requires_grad_(False).eval()

    def outcome_of(self, sim: SimulatedModel, own_weights: bool = False) -> Outcome:
        """Score a simulated model of this network, PTQ or, with weights of its own, QAT."""
        with torch.no_grad(), with_threads(self.threads):
            compared = compare_layers(self.kept, sim)
            logits = torch.cat([compared.logits, *self._simulated(sim)])
        hits, n = self._hits(logits), len(logits)
        right = int(hits.sum())
        predicted, before = logits.argmax(1).numpy(), self.logits.argmax(1).numpy()
        return Outcome(
            recipe=sim.recipe,
            target=sim.target,
            n=n,
            top1=100 * right / n,
            interval=wilson(right, n),
            gain=gain(self._hits(self.logits).numpy(), hits.numpy()),
            agreement=agreement(before, predicted),
            logits_sqnr_db=sqnr_db(self.logits, logits),
            layers=compared.layers,
            flips=flips(self.logits, logits, self.test.labels),
            size=estimated_size(sim),
            qparams={name: quantizer.qparams() for name, quantizer in sim.quantizers.items()},
            statistics=self._observed(sim) if own_weights else self.observation.statistics,
            sim=sim if own_weights else None,
        )

    def weight(self, site: Site, outcome: Outcome) -> Tensor:
        """The float weight behind an outcome: the network's own, or as QAT has trained it."""
        if outcome.sim is None:
            return self.observation.weight(site)
        return stored(outcome.sim.graph_module, site.node)

    def _observed(self, sim: SimulatedModel) -> dict[str, Statistic]:
        """What every activation of a trained network looks like, on one batch of calibration."""
        found = {name: Statistic(name) for name in self.observation.statistics}
        hooks = [
            quantizer.register_forward_pre_hook(
                lambda module, args: found[module.site.name].observe(args[0]) and None
            )
            for name, quantizer in sim.quantizers.items()
            if name in found
        ]
        with torch.no_grad(), with_threads(self.threads):
            sim(self.calibration[:CHUNK])
        for hook in hooks:
            hook.remove()
        return found

    def _simulated(self, sim: SimulatedModel) -> list[Tensor]:
        """Logits of the pictures behind the first batch; batches of few threads side by side."""

        def run(x: Tensor) -> Tensor:
            if self.threads is not None:
                torch.set_num_threads(self.threads)  # every thread has a number of its own
            with torch.no_grad():
                return cast(Tensor, sim(x))

        return list((map if self.threads is None else _WORKERS.map)(run, self._rest()))

    def _rest(self) -> Iterator[Tensor]:
        """The pictures behind the first batch, in batches."""
        rest = self.test.x[self.layer_pictures :]
        yield from torch.split(rest, self.layer_pictures) if len(rest) else ()

    def _hits(self, logits: Tensor) -> Tensor:
        """Whether each picture is right, bool ``[N]``."""
        return logits.argmax(dim=1) == self.test.labels

    def _check_logits(self) -> None:
        if self.logits.ndim != 2:
            raise InvalidInputError(
                f"{self.name} returns {list(self.logits.shape)}: classes are told from logits "
                "[N, classes]"
            )
        least, largest = int(self.test.labels.min()), int(self.test.labels.max())
        if least < 0 or largest >= self.logits.shape[1]:
            raise InvalidInputError(
                f"labels reach from {least} to {largest}, but {self.name} tells "
                f"{self.logits.shape[1]} classes apart (0..{self.logits.shape[1] - 1})"
            )


@lru_cache(maxsize=8)
def zoo_subject(model: str, pictures: int = PICTURES) -> Subject:
    """A shipped network: ranges from its calibration split, scored on its first test pictures.

    Raises:
        InvalidInputError: unknown model, or more pictures than the split holds.
    """
    data = zoo.dataset(zoo.entry(model).dataset)
    calibration, test = data.calibration.take(CALIBRATION), data.test.take(pictures)
    labelled = Labelled(test.prepare(test.images), test.labels, data.classes)
    fitted = calibration.prepare(calibration.images)
    return Subject(model, zoo.load(model), fitted, labelled, ZOO_THREADS)


@contextmanager
def with_threads(count: int | None) -> Iterator[None]:
    """Compute with ``count`` threads while open; None leaves torch as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def own_subject(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    classes: tuple[str, ...] = (),
    pictures: int = PICTURES,
    name: str = "",
) -> Subject:
    """Any network with labelled pictures: half of them, drawn once, give ranges; the others score.

    Args:
        data: ``(x [N, ...], labels [N])``, ``x`` as the network takes it. classes: their names.

    Raises:
        InvalidInputError: fewer than two pictures, or labels that do not fit; see ``Subject``.
    """
    x, labels = data
    if len(x) < 2:
        raise InvalidInputError(
            f"{len(x)} pictures are too few: some give ranges, the others are scored"
        )
    if labels.shape != (len(x),):
        raise InvalidInputError(f"{len(x)} pictures do not fit labels {list(labels.shape)}")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    half = len(x) // 2
    fitted, scored = order[:half][:CALIBRATION], order[half:][:pictures]
    count = int(labels.max()) + 1
    names = tuple(classes) or tuple(f"class {i}" for i in range(count))
    if len(names) < count:
        raise InvalidInputError(f"{len(names)} class names do not fit labels up to {count - 1}")
    test = Labelled(x[scored], labels[scored].long(), names)
    return Subject(name or type(model).__name__, model, x[fitted], test)
