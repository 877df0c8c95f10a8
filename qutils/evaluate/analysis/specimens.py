"""Tensors made to fool each observer, and plain ones to compare with; SPECIMENS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from qutils.evaluate.analysis.sqnr import sqnr_db
from qutils.numerics.affine import QParams, fake_quantize
from qutils.numerics.observers import Rows, Statistic
from qutils.numerics.schemes import Scheme

#: A specimen comes in so many batches of so many values.
BATCHES, VALUES = 16, 4096


@dataclass(frozen=True)
class Specimen:
    """A synthetic activation: the same numbers for the same seed.

    ``fools`` names the observer it was made against, at ``bits`` bits affine; ``matters`` is the
    interval of values whose SQNR counts there (None: all values).
    """

    name: str
    about: str  # what it is, and why it fools
    draw: Callable[[Generator], tuple[Tensor, ...]]
    fools: str | None = None
    bits: int = 8
    matters: tuple[float, float] | None = None

    @property
    def scheme(self) -> Scheme:
        """The scheme under which it fools: unsigned, affine, per tensor."""
        return Scheme(self.bits, signed=False, symmetric=False)

    def batches(self, seed: int = 0) -> tuple[Tensor, ...]:
        """The values in the order calibration would see them, float32 ``[n]`` each."""
        return self.draw(Generator().manual_seed(seed))

    def tensor(self, seed: int = 0) -> Tensor:
        """All values, ``[N]``."""
        return torch.cat(self.batches(seed))

    def rows(self, seed: int = 0) -> Rows:
        """What calibration keeps of the batches."""
        statistic = Statistic(self.name)
        for batch in self.batches(seed):
            statistic.observe(batch)
        return statistic.rows()

    def sqnr_db(self, q: QParams, seed: int = 0) -> float:
        """SQNR [dB] of the values that matter, quantized so."""
        x = self.tensor(seed)
        if self.matters is not None:
            x = x[(x >= self.matters[0]) & (x <= self.matters[1])]
        return sqnr_db(x, fake_quantize(x, q))


def _normal(g: Generator, n: int = VALUES) -> Tensor:
    return torch.randn(n, generator=g)


def _uniform(g: Generator, n: int = VALUES) -> Tensor:
    return 2 * torch.rand(n, generator=g) - 1


def _laplace(g: Generator, n: int = VALUES) -> Tensor:
    """Inverse of the distribution function; scale 1, standard deviation sqrt(2)."""
    u = 0.999999 * _uniform(g, n)
    return -u.sign() * torch.log1p(-u.abs())


def _repeat(batch: Callable[[Generator], Tensor]) -> Callable[[Generator], tuple[Tensor, ...]]:
    return lambda g: tuple(batch(g) for _ in range(BATCHES))


def _outlier(g: Generator) -> tuple[Tensor, ...]:
    batches = [_normal(g) for _ in range(BATCHES)]
    batches[BATCHES // 2][0] = 100.0
    return tuple(batches)


def _far_cluster(g: Generator) -> tuple[Tensor, ...]:
    batches = [_normal(g) for _ in range(BATCHES)]
    for batch in batches[:3]:
        batch[0] = 40.0 + _normal(g, 1)[0]
    return tuple(batches)


def _fading(g: Generator) -> tuple[Tensor, ...]:
    return tuple((10.0 - 9.0 * i / (BATCHES - 1)) * _normal(g) for i in range(BATCHES))


def _bulk_on_plateau(g: Generator) -> Tensor:
    plateau = VALUES // 20
    return torch.cat([0.1 * _normal(g, VALUES - plateau), 3.0 * _uniform(g, plateau)])


def _rare_signal(g: Generator) -> Tensor:
    rare = VALUES // 1000
    return torch.cat([0.3 * _normal(g, VALUES - rare), 8.0 + 0.1 * _normal(g, rare)])


_ALL = (
    Specimen("gaussian", "pre-activations and trained weights look much like it", _repeat(_normal)),
    Specimen("laplace", "heavier tails, as in sparse layers", _repeat(_laplace)),
    Specimen("uniform", "no tails: every observer takes all of it", _repeat(_uniform)),
    Specimen("relu", "half a Gaussian and a spike at zero", _repeat(lambda g: _normal(g).relu())),
    Specimen(
        "one_outlier",
        "65,535 Gaussian values and a single 100: minmax stretches its 16 levels up to it, and "
        "nearly everything else becomes zero",
        _outlier,
        fools="minmax",
        bits=4,
        matters=(-6.0, 6.0),
    ),
    Specimen(
        "far_cluster",
        "3 of 65,536 values lie near 40, fewer than the 0.005 % that percentile cuts off either "
        "end: it clips them to about 4, and their error outweighs all the rest",
        _far_cluster,
        fools="percentile",
    ),
    Specimen(
        "fading",
        "each batch is smaller than the one before, down to a tenth: the running extremes follow "
        "the last ones, and the moving average clips the first",
        _fading,
        fools="moving_average",
    ),
    Specimen(
        "bulk_on_plateau",
        "19 of 20 values in a narrow peak, one spread evenly from -3 to 3: the peak's shape holds "
        "nearly all of the information, so entropy's range ends at the peak, though the far "
        "values hold nearly all of the power",
        _repeat(_bulk_on_plateau),
        fools="entropy",
        bits=4,
    ),
    Specimen(
        "rare_signal",
        "1 value in 1,000 is near 8, a detector that fires; the rest is noise around 0. The "
        "smallest mean squared error serves the many and clips the few that carry the message",
        _repeat(_rare_signal),
        fools="mse",
        bits=4,
        matters=(6.0, 10.0),
    ),
)

#: Every specimen by name: first the plain ones, then one made against each observer.
SPECIMENS: MappingProxyType[str, Specimen] = MappingProxyType({s.name: s for s in _ALL})
