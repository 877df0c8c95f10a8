"""A detector of a few hand-made layers, and small datasets: nothing here needs Ultralytics."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from qutils import detection as d
from qutils.detection.detector import Layer
from qutils.detection.labels import label_file
from qutils.quantize.calibration import Observation

SIZE, BINS, CLASSES, STRIDES = (32, 32), 4, 3, (4, 8)
PLACES = 8 * 8 + 4 * 4
NAMES = ("disk", "square", "star")


class Concat(nn.Module):
    def forward(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, 1)


def _block(before: int, behind: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, behind, 3, stride, 1), nn.SiLU())


def _layers() -> list[Layer]:
    """Two levels: the second is made larger, joined to the first and made smaller again."""
    return [
        Layer(_block(3, 8, 4), (-1,)),  # 0, stride 4
        Layer(_block(8, 8, 2), (-1,)),  # 1, stride 8
        Layer(nn.Upsample(scale_factor=2), (-1,)),  # 2, stride 4
        Layer(Concat(), (-1, 0)),  # 3
        Layer(_block(16, 8), (-1,)),  # 4, stride 4
        Layer(_block(8, 8, 2), (-1,)),  # 5, stride 8
    ]


def _branch(out: int) -> nn.Module:
    return nn.Sequential(_block(8, 8), nn.Conv2d(8, out, 1))


def tiny_detector(
    size: tuple[int, int] = SIZE, bins: int = BINS, normalized: bool = False
) -> d.Detector:
    """Random weights, the same every time; boxes are some strides wide."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        box, cls = ([_branch(n) for _ in STRIDES] for n in (4 * bins, CLASSES))
        layers = _layers()
        for branch in (*box, *cls):
            nn.init.normal_(branch[1].weight, std=8.0)  # distances and probabilities that differ
    return d.Detector(layers, (4, 5), box, cls, STRIDES, bins, size, normalized).eval()


def pictures(count: int = 16, size: tuple[int, int] = SIZE) -> Tensor:
    """Coloured slopes with some noise, in 0..1."""
    generator = torch.Generator().manual_seed(2)
    corners = torch.rand(count, 3, 3, 3, generator=generator)
    smooth = nn.functional.interpolate(corners, size=size, mode="bilinear")
    return (smooth + 0.05 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1)


@cache
def observed(target: str = "onnxruntime", normalized: bool = False) -> Observation:
    """The tiny detector's observation; ask for ``simulate`` to get a model of your own."""
    return d.observe_detector(tiny_detector(normalized=normalized), pictures(), target)


# Datasets -----------------------------------------------------------------------------------------


def write_picture(path: Path, seed: int, size: tuple[int, int] = (16, 12)) -> Path:
    """A picture of noise, width and height ``size``."""
    draw = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)
    return path


def write_label(picture: Path, text: str) -> Path:
    path = label_file(picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_data(folder: Path, **changes: object) -> Path:
    """A dataset of two pictures a split, one box each; ``changes`` to its YAML, None takes away."""
    for number, split in enumerate(("train", "calibration", "val")):
        for i in range(2):
            picture = write_picture(folder / "images" / split / f"{i}.png", 10 * number + i)
            write_label(picture, "1 0.5 0.5 0.25 0.5\n")
    content = {split: f"images/{split}" for split in ("train", "calibration", "val")}
    content = {**content, "names": list(NAMES), **changes}
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return path
