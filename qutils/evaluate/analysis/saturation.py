"""One model on CPUs with and without VNNI, with weights of 8 bits and of 7: what saturation costs.

Without VNNI, x86 kernels add pairs of products in 16 bits (``integer.saturating``). Weights of 7
bits, -63..63, never get that far: ``255 * (63 + 63) = 32,130``. Tools call this ``reduce_range``;
its price is a step twice as coarse, on every CPU. Weights of 8 bits whose pairs fit
(``Recipe.saturation_safe``) have steps as coarse as each filter's largest pair needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.sqnr import sqnr_db
from qutils.integer import KERNELS, SATURATING, IntegerReference
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import Observation

#: Bits of weights that leave no pair beyond 16 bits.
REDUCED = 7
_BATCH = 64


@dataclass(frozen=True)
class Outcome:
    """One model's integers on one kind of CPU, computed exactly as its kernels do.

    ``hits`` of ``n`` pictures are classified right; ``sqnr_db`` [dB] is that of the outputs against
    the float model's.
    """

    weight_bits: int
    vnni: bool
    hits: int
    n: int
    sqnr_db: float
    safe: bool = False  # 8 bits, with scales that keep every pair within 16 bits

    @property
    def top1(self) -> float:
        """Accuracy [%]."""
        return 100 * self.hits / self.n


@dataclass(frozen=True)
class Saturation:
    """Both widths on both paths, and the float model's hits on the same pictures."""

    label: str  # granularity and observer of the weights
    float_hits: int
    outcomes: tuple[Outcome, ...]

    @property
    def n(self) -> int:
        """Pictures scored."""
        return self.outcomes[0].n

    def outcome(self, weight_bits: int, *, vnni: bool, safe: bool = False) -> Outcome:
        """The result of one width on one path."""
        wanted = (weight_bits, vnni, safe)
        return next(o for o in self.outcomes if (o.weight_bits, o.vnni, o.safe) == wanted)

    @property
    def cost_db(self) -> float:
        """SQNR [dB] that 8-bit weights lose on a CPU without VNNI."""
        return self.outcome(8, vnni=True).sqnr_db - self.outcome(8, vnni=False).sqnr_db

    @property
    def price_db(self) -> float:
        """SQNR [dB] that 7-bit weights give up everywhere."""
        return self.outcome(8, vnni=True).sqnr_db - self.outcome(REDUCED, vnni=True).sqnr_db

    @property
    def safe_price_db(self) -> float:
        """SQNR [dB] that 8-bit weights whose pairs fit give up everywhere."""
        safe = self.outcome(8, vnni=True, safe=True)
        return self.outcome(8, vnni=True).sqnr_db - safe.sqnr_db


@torch.no_grad()
def saturation(observation: Observation, recipe: Recipe, x: Tensor, y: Tensor) -> Saturation:
    """Run a recipe, its reduced range and its safe scales on both paths.

    Nothing is trained or observed again. The path without VNNI is emulated in integers, and equal
    to ONNX Runtime's kernels there in every output. Cost: six passes of the integer reference.

    Args:
        recipe: of 8-bit weights, signed and symmetric.
        x: pictures ``[N, ...]``. y: classes ``[N]``.

    Raises:
        InvalidInputError: weights of other than 8 bits; pictures and classes that do not match, or
            none.
        UnsupportedError: per_group weights, which no integer kernel takes.
    """
    weights = recipe.weights
    if weights.bits != 8 or not (weights.signed and weights.symmetric):
        raise InvalidInputError(
            f"saturation is a matter of 8-bit signed symmetric weights, got {weights.bits} bits"
        )
    if len(x) == 0 or y.shape != (len(x),):
        raise InvalidInputError(
            f"{len(x)} pictures come with labels of shape {list(y.shape)}: give one label each"
        )
    observation.captured.check(x)
    module = observation.captured.module
    exact = torch.cat([module(part) for part in torch.split(x, _BATCH)])
    outcomes = []
    for bits, safe in ((8, False), (REDUCED, False), (8, True)):
        changed = replace(recipe, weights=replace(weights, bits=bits), saturation_safe=safe)
        sim = observation.simulate(changed)
        for vnni in (True, False):
            logits = IntegerReference(sim, KERNELS if vnni else SATURATING)(x)
            db = sqnr_db(exact, logits)
            outcomes.append(Outcome(bits, vnni, _hits(logits, y), len(x), db, safe))
    label = f"{weights.granularity}, {weights.observer}"
    return Saturation(label, _hits(exact, y), tuple(outcomes))


def _hits(logits: Tensor, y: Tensor) -> int:
    return int((logits.argmax(1) == y).sum())
