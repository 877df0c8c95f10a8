"""Where a detector's error sits: one part rounded at a time, and one scale for the whole output."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from qutils.detection.predict import PictureFiles, batches_of
from qutils.errors import unknown_name
from qutils.numerics.affine import fake_quantize, qparams
from qutils.numerics.schemes import Scheme
from qutils.quantize.simulate import SimulatedModel

#: Parts of a detector, in order, and what the names of their layers begin with.
PARTS = {
    "backbone and neck": ("input", "layers."),
    "box branch": ("box.",),
    "class branch": ("cls.",),
}


def part_of(layer: str) -> str:
    """The part that a layer or site belongs to.

    >>> part_of("box.0.2.weight")
    'box branch'
    """
    return next(part for part, starts in PARTS.items() if layer.startswith(starts))


def rounded_only(sim: SimulatedModel, parts: Collection[str]) -> SimulatedModel:
    """A copy that rounds these parts alone; elsewhere weights and activations pass as they are.

    Biases are rounded everywhere, to 32 bits, which is next to nothing.

    Raises:
        InvalidInputError: an unknown part.
    """
    for part in parts:
        if part not in PARTS:
            raise unknown_name("part", part, PARTS)
    copied = sim.copy()
    for quantizer in copied.quantizers.values():
        if part_of(quantizer.site.name) not in parts:
            quantizer.register_forward_hook(_pass_through)
    return copied


def _pass_through(module: nn.Module, args: tuple[Tensor, ...], rounded: Tensor) -> Tensor:
    return args[0]


class OneScale(nn.Module):
    """A detector whose whole output is rounded by one 8-bit scale, as a static INT8 file does.

    Boxes and probabilities share it: the output is ``[N, 4 + classes, A]`` in shares of the
    picture, so that a step is about 1/255 of its side.
    """

    def __init__(self, detector: nn.Module, pictures: Tensor | PictureFiles, size: int) -> None:
        super().__init__()
        self.detector, self.size = detector, size
        with torch.no_grad():
            ends = [
                torch.stack((s.min(), s.max())) for s in map(self._shares, batches_of(pictures))
            ]
        low, high = torch.stack(ends).T
        self.q = qparams(low.min(), high.max(), Scheme(8, signed=True, symmetric=False))

    def _shares(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.detector(pictures)
        return torch.cat([found[:, :4] / self.size, found[:, 4:]], 1)

    def forward(self, pictures: Tensor) -> Tensor:
        rounded = fake_quantize(self._shares(pictures), self.q)
        return torch.cat([rounded[:, :4] * self.size, rounded[:, 4:]], 1)
