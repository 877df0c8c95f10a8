"""What training changes: snapshots of latent weights, scales and loss, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qutils.errors import InvalidInputError, known_names
from qutils.graph.nodes import stored
from qutils.numerics import affine
from qutils.numerics.affine import QParams
from qutils.quantize.simulate import SimulatedModel
from qutils.quantize.training import Step

#: Called at each snapshot with the model in eval mode: its accuracy in percent, say.
Score = Callable[[SimulatedModel], float]


@dataclass(frozen=True)
class LayerState:
    """The weights of one layer at one step.

    ``latent`` are the float weights ``[C, ...]`` that the optimizer moves; the network computes
    with ``affine.fake_quantize(latent, q)``. Counted since the start, over all weights of the
    layer: ``moves``, how often a weight took another integer from one step to the next, and
    ``reversals``, how often it did so against the direction of its own move before (an
    oscillation, as Nagel et al. 2022 count them, arXiv:2203.11086, section 3).
    """

    latent: Tensor
    q: QParams
    moves: int = 0
    reversals: int = 0

    @property
    def integers(self) -> Tensor:
        """What an integer kernel would hold: int32 ``[C, ...]``."""
        return affine.quantize(self.latent, self.q)

    @property
    def position(self) -> Tensor:
        """The latent weights in steps of the grid, not rounded: ``latent / scale``, ``[C, ...]``.

        Weights are symmetric: zero lies at 0, and integer k at k.
        """
        q = self.q
        return self.latent / affine.expand(q.scale, self.latent, q.axis, q.group_size)


@dataclass(frozen=True)
class Snapshot:
    """The recorded layers after ``step`` optimizer steps.

    ``loss`` is the mean over the steps since the snapshot before (NaN at step 0), ``score`` what
    the recorder's score said (NaN without one).
    """

    step: int
    loss: float
    score: float
    layers: dict[str, LayerState]  # by the name of the weight's site


class Recorder:
    """Keeps snapshots while ``finetune(start, ..., on_step=recorder)`` trains.

    Snapshots are spaced evenly, ``limit`` of them at most, whatever the number of steps; the first
    is the start, the last the end.

    Args:
        start: the model that training starts from.
        layers: names of weight sites, ``stage1.conv1.weight`` say; None records all.
        limit: snapshots that are kept.
        score: measured at every snapshot.

    Raises:
        InvalidInputError: a layer that has no weights, or a limit below 2.
    """

    def __init__(
        self,
        start: SimulatedModel,
        layers: Sequence[str] | None = None,
        limit: int = 32,
        score: Score | None = None,
    ) -> None:
        if limit < 2:
            raise InvalidInputError(f"a recorder keeps at least 2 snapshots, got limit={limit}")
        weights = [n for n, found in start.quantizers.items() if found.site.role == "weight"]
        self.layers = known_names("layer", weights if layers is None else layers, weights)
        self.limit, self.score, self.recipe = limit, score, start.recipe
        self._tracks = {
            name: _Track(affine.quantize(latent, q))
            for name, (latent, q) in self._weights(start).items()
        }
        self._losses: list[float] = []
        self.snapshots: list[Snapshot] = [self._snapshot(0, start)]

    def __call__(self, step: Step, model: SimulatedModel) -> None:
        """Look at ``model`` after a step."""
        for name, (latent, q) in self._weights(model).items():
            self._tracks[name].add(affine.quantize(latent, q))
        self._losses.append(step.loss)
        spacing = math.ceil(step.of / (self.limit - 1))
        if step.done % spacing == 0 or step.done == step.of:
            self.snapshots.append(self._snapshot(step.done, model))
            self._losses.clear()

    def _weights(self, model: SimulatedModel) -> dict[str, tuple[Tensor, QParams]]:
        """Latent weights and quantizer of the recorded layers, on the CPU, not copied."""
        found = {}
        for name in self.layers:
            quantizer = model.quantizers[name]
            latent = stored(model.graph_module, quantizer.site.node).cpu()
            q = quantizer.qparams()
            q = replace(q, scale=q.scale.cpu(), zero_point=q.zero_point.cpu())
            found[name] = (latent, q)
        return found

    def _snapshot(self, step: int, model: SimulatedModel) -> Snapshot:
        layers = {}
        for name, (latent, q) in self._weights(model).items():
            track = self._tracks[name]
            kept = replace(q, scale=q.scale.clone())
            layers[name] = LayerState(latent.clone(), kept, track.moves, track.reversals)
        loss = sum(self._losses) / len(self._losses) if self._losses else math.nan
        return Snapshot(step, loss, self._scored(model), layers)

    def _scored(self, model: SimulatedModel) -> float:
        if self.score is None:
            return math.nan
        training = model.training
        model.eval()
        try:
            return float(self.score(model))
        finally:
            model.train(training)


class _Track:
    """The integers of a layer at the last step, and the way each of them moved last."""

    def __init__(self, integers: Tensor) -> None:
        self.last = integers
        self.direction = torch.zeros_like(integers)  # -1, 1, or 0: never moved
        self.moves = self.reversals = 0

    def add(self, integers: Tensor) -> None:
        """Count one step."""
        change = (integers - self.last).sign()
        self.moves += int(change.count_nonzero())
        self.reversals += int((change * self.direction < 0).sum())
        self.direction = torch.where(change != 0, change, self.direction)
        self.last = integers
