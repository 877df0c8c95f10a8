"""QAT of a detector without labels: it follows its own float network, where that sees something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from qutils.detection.detector import Detector
from qutils.detection.predict import BATCH, PictureFiles
from qutils.quantize.qat import finetune
from qutils.quantize.simulate import SimulatedModel

#: Added to the float network's confidence, so that places it sees nothing at count a little.
FLOOR = 0.01


@dataclass(frozen=True)
class Followed:
    """Batches ``(x, float network's predictions of x)``, computed as they are asked for."""

    detector: Detector
    pictures: Tensor | PictureFiles  # [N, 3, H, W]
    batch: int = BATCH

    def __len__(self) -> int:
        return len(self.pictures) // self.batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(len(self)):
            x = self.pictures[i * self.batch : (i + 1) * self.batch]
            with torch.no_grad():
                wanted = self.detector(x)
            yield x, wanted  # behind the block: who asks for batches computes gradients


def following_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """How far predictions are from the float network's: ``[N, 4 + classes, A]`` twice.

    ``sum_a w_a (|d box_a| / box size + BCE_a) / sum_a w_a``, with the weight ``w_a`` the largest
    probability that the float network gives at place ``a``, and a little more; boxes are compared
    relative to the mean of their width and height.
    """
    boxes, scores = wanted[:, :4], wanted[:, 4:]
    weight = scores.amax(1) + FLOOR  # [N, A]
    extent = boxes[:, 2:].mean(1, keepdim=True).clamp(min=1e-6)
    box = ((found[:, :4] - boxes).abs() / extent).mean(1)
    probabilities = found[:, 4:].clamp(1e-6, 1 - 1e-6)
    cls = F.binary_cross_entropy(probabilities, scores, reduction="none").sum(1)
    return ((box + cls) * weight).sum() / weight.sum()


def finetune_detector(
    sim: SimulatedModel,
    detector: Detector,
    pictures: Tensor | PictureFiles,
    *,
    epochs: float = 1.0,
    learning_rate: float | None = None,
    progress: bool = True,
) -> SimulatedModel:
    """Train a quantized detector to find what its float network finds; returns a new one.

    Args:
        pictures: ``[N, 3, H, W]`` in 0..1 or their files, at least ``BATCH`` of them; labels are
            not needed.

    What is frozen in ``detector`` stays.

    Raises: as ``qutils.quantize.qat.finetune``.
    Source: straight-through estimator and learned scales as in ``quantize.qat``; distillation
        after Hinton et al. 2015, arXiv:1503.02531.
    """
    return finetune(
        sim,
        Followed(detector, pictures),
        epochs=epochs,
        learning_rate=learning_rate,
        loss=following_loss,
        progress=progress,
    )
