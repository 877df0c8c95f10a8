"""How many calibration pictures are enough: error and accuracy against their number."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from tqdm.auto import tqdm

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.sqnr import sqnr_db
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import Observation
from qutils.zoo import Split

#: Pictures of one calibration batch; only the moving average sees how large it is.
BATCH = 32
#: Pictures of one pass that scores.
CHUNK = 128


@dataclass(frozen=True)
class Unseen:
    """Pictures that calibration does not see, and what the float network answers.

    ``x [N, ...]``, ``labels [N]``, ``logits [N, classes]``. Memory: the pictures as float32, 3 kB
    each of 28x28.
    """

    x: Tensor
    labels: Tensor
    logits: Tensor

    @classmethod
    def of(cls, model: nn.Module, split: Split) -> Unseen:
        """All pictures of a split through the float model.

        Raises:
            InvalidInputError: the model is in training mode.
        """
        if model.training:
            raise InvalidInputError("the model is in training mode: call model.eval() first")
        x = split.prepare(split.images)
        return cls(x, split.labels, _logits(model, x))

    @property
    def top1(self) -> float:
        """Accuracy of the float network [%]."""
        return self._top1(self.logits)

    def score(self, sim: nn.Module) -> tuple[float, float]:
        """SQNR of the logits [dB] and top-1 [%] of a simulated model."""
        logits = _logits(sim, self.x)
        return sqnr_db(self.logits, logits), self._top1(logits)

    def _top1(self, logits: Tensor) -> float:
        return 100 * float((logits.argmax(dim=1) == self.labels).double().mean())


@dataclass(frozen=True)
class CurvePoint:
    """One calibration, scored: SQNR of the logits [dB] and top-1 [%] on unseen pictures."""

    draw: int
    pictures: int
    weight_bits: int
    activation_bits: int
    observer: str  # of the activations
    sqnr_db: float
    top1: float


def observed_after(
    kept: Observation, pictures: Tensor, counts: Iterable[int], batch_size: int = BATCH
) -> dict[int, Observation]:
    """What calibration keeps of the first ``n`` pictures, for each ``n`` of ``counts``.

    As ``kept.blank().extended(pictures[:n].split(batch_size))`` for each, in one pass over the
    pictures. Memory: a histogram (33 kB) for each activation and each count.

    Args:
        kept: an observation of the network, whatever it has seen.

    Raises:
        InvalidInputError: no count, one outside 1..N, or an empty batch.
    """
    wanted = sorted(set(counts))
    if batch_size < 1:
        raise InvalidInputError(f"batch size must be at least 1, got {batch_size}")
    if not wanted or wanted[0] < 1 or wanted[-1] > len(pictures):
        raise InvalidInputError(
            f"calibrate with 1..{len(pictures)} of these pictures, not with {wanted or 'none'}"
        )
    found, whole, done = {}, kept.blank(), 0
    for n in wanted:
        full = n - n % batch_size  # whole batches; what is over makes a smaller one
        whole = whole.extended(torch.split(pictures[done:full], batch_size))
        found[n], done = whole.extended([pictures[full:n]]), full
    return found


def learning_curve(
    kept: Observation,
    draws: Sequence[Tensor],
    counts: Sequence[int],
    recipes: Sequence[Recipe],
    unseen: Unseen,
    batch_size: int = BATCH,
    *,
    progress: bool = False,
) -> list[CurvePoint]:
    """Calibrate with more and more pictures of each draw, and score every recipe each time.

    Args:
        draws: pictures ``[N, ...]`` of each draw, as many as the largest count at least.
        unseen: what scores; of no split that calibrates.

    Raises:
        InvalidInputError: no draw, no recipe, or counts that do not fit, as ``observed_after``.
    """
    if not draws or not recipes:
        raise InvalidInputError("a learning curve needs at least one draw and one recipe")
    total = len(draws) * len(set(counts)) * len(recipes)
    with tqdm(total=total, desc="learning curve", unit="model", disable=not progress) as bar:
        points = []
        for draw, pictures in enumerate(draws):
            after = observed_after(kept, pictures, counts, batch_size)
            for (n, seen), recipe in itertools.product(after.items(), recipes):
                points.append(_point(draw, n, recipe, unseen.score(seen.simulate(recipe))))
                bar.update()
    return points


def _point(draw: int, n: int, recipe: Recipe, score: tuple[float, float]) -> CurvePoint:
    bits = (recipe.weights.bits, recipe.activations.bits)
    return CurvePoint(draw, n, *bits, recipe.activations.observer, *score)


def share_beyond(
    seen: Tensor, unseen: Tensor, counts: Sequence[int], repeats: int, seed: int = 0
) -> Tensor:
    """How often an unseen picture exceeds the largest of ``n`` seen ones, ``[K]``, 0..1.

    Means over ``repeats`` draws of ``n`` values of ``seen``, none twice. Where seen and unseen come
    from one distribution without ties, each of ``n + 1`` is the largest equally often, so the
    expectation is ``1 / (n + 1)``, whatever the distribution. Memory: 12 bytes for each repeat and
    value seen.

    Args:
        seen, unseen: one value for each picture, ``[N]`` and ``[M]``.

    Raises:
        InvalidInputError: no values, or counts outside 1..N.

    >>> far, near = torch.arange(100.0) + 1000, torch.arange(100.0)
    >>> share_beyond(near, far, [1, 10], repeats=5).tolist()
    [1.0, 1.0]
    """
    if not counts or min(counts) < 1 or max(counts) > len(seen) or len(unseen) == 0:
        raise InvalidInputError(
            f"take 1..{len(seen)} of the values seen, not {list(counts)}, and at least one unseen"
        )
    generator = Generator().manual_seed(seed)
    order = torch.rand(repeats, len(seen), generator=generator).argsort(dim=1)
    largest = seen[order[:, : max(counts)]].cummax(dim=1).values  # [repeats, max n]
    largest = largest[:, [n - 1 for n in counts]].contiguous()  # [repeats, K]
    below = torch.searchsorted(unseen.sort().values, largest, right=True)  # unseen <= largest
    return 1 - below.double().mean(dim=0) / len(unseen)


@torch.no_grad()
def _logits(model: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([model(part) for part in torch.split(x, CHUNK)])
