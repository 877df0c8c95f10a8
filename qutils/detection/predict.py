"""From pictures to predictions, whatever computes: a module or a runtime, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from qutils.backends.runtimes import Runtime
from qutils.detection.nms import surest
from qutils.images import read_rgb

#: Pictures that are computed, or read, at once.
BATCH = 16
#: Around a picture that is not square, as detectors were trained: grey.
_FILL = (114, 114, 114)


@dataclass(frozen=True)
class Prediction:
    """Calls a module or a runtime: ``[N, 3, H, W] -> [N, 4 + classes, A]``, boxes in pixels.

    ``normalized`` where what computes hands boxes out as shares of the picture.
    """

    computes: nn.Module | Runtime
    normalized: bool = False

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        if isinstance(self.computes, Runtime):
            first = self.computes.input_shape[0]
            size = first if isinstance(first, int) else BATCH
            parts = [self.computes.run(part.numpy()) for part in torch.split(pictures, size)]
            found = torch.from_numpy(np.concatenate(parts))
        else:
            found = torch.cat([self.computes(part) for part in torch.split(pictures, BATCH)])
        if self.normalized:
            height, width = pictures.shape[2:]
            found = found.clone()
            found[:, 0:4:2] *= width
            found[:, 1:4:2] *= height
        return found


@dataclass(frozen=True)
class EndToEnd:
    """The surest boxes of a head that needs no suppression: ``[N, 3, H, W] -> [N, K, 6]``."""

    predict: Prediction

    def __call__(self, pictures: Tensor) -> Tensor:
        return surest(self.predict(pictures))


def batches_of(pictures: Tensor | PictureFiles) -> Iterable[Tensor]:
    """``BATCH`` pictures at a time."""
    return torch.split(pictures, BATCH) if isinstance(pictures, Tensor) else pictures


@dataclass(frozen=True)
class PictureFiles:
    """Pictures that are read when they are needed: ``files[:2]`` is ``[2, 3, size, size]``.

    Iterating gives batches of ``BATCH``: memory is one batch, whatever their number.
    """

    paths: tuple[Path, ...]
    size: int

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, cut: slice) -> Tensor:
        return read_pictures(self.paths[cut], self.size)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i : i + BATCH] for i in range(0, len(self), BATCH))


def read_pictures(paths: Sequence[Path], size: int) -> Tensor:
    """Pictures as detectors take them: ``[N, 3, size, size]`` in 0..1, letterboxed in grey.

    Raises:
        DataError: a picture cannot be read; names it.
    """
    return torch.stack([_letterboxed(path, size) for path in paths])


def _letterboxed(path: Path, size: int) -> Tensor:
    """Resize as Ultralytics does, by OpenCV's bilinear: between four pixels, none are averaged."""
    picture = read_rgb(path)
    scale = size / max(picture.size)
    width, height = (min(math.ceil(side * scale), size) for side in picture.size)
    if picture.size != (width, height):
        steps = picture.width / width, picture.height / height
        picture = picture.transform(
            (width, height),
            Image.Transform.AFFINE,
            (steps[0], 0, 0, 0, steps[1], 0),
            Image.Resampling.BILINEAR,
        )
    canvas = Image.new("RGB", (size, size), _FILL)
    canvas.paste(picture, ((size - width) // 2, (size - height) // 2))
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1).float() / 255
