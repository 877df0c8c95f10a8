"""A dataset in YOLO's format that needs no download: written once, the same for every seed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from tqdm import tqdm

from qutils.detection.shapes import SHAPES, Scene, draw_scene
from qutils.errors import DataError, InvalidInputError
from qutils.images import open_image
from qutils.zoo import natural_pictures
from qutils.zoo.natural import MOST

#: Splits of the dataset; the order seeds them.
SHAPE_SPLITS = ("train", "calibration", "val")


@dataclass(frozen=True)
class ShapesPlan:
    """How many pictures of which size; part of the folder's name, so that no two plans mix.

    Raises:
        InvalidInputError: a count below 1, or a size that is no multiple of 32.
    """

    train: int = 4096
    calibration: int = 128
    val: int = 1024
    size: int = 160  # pixels, width and height
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.train, self.calibration, self.val) < 1:
            raise InvalidInputError("every split needs at least one picture")
        if self.size < 32 or self.size % 32:
            raise InvalidInputError(
                f"pictures of {self.size} pixels do not fit strides up to 32: give a multiple of 32"
            )

    @property
    def name(self) -> str:
        """``shapes-160-4096-128-1024-0``: size, counts and seed."""
        counts = (self.size, self.train, self.calibration, self.val, self.seed)
        return "-".join(["shapes", *map(str, counts)])


def scenes(plan: ShapesPlan, split: str) -> Iterator[Scene]:
    """The pictures of one split, each drawn from its own seed: ``(seed, split, number)``.

    Raises:
        InvalidInputError: no such split.
        MissingPackageError: scikit-image, which has the backgrounds, is not installed.
    """
    if split not in SHAPE_SPLITS:
        raise InvalidInputError(f"no split {split!r}: choose from {', '.join(SHAPE_SPLITS)}")
    grounds = _backgrounds(plan.size)
    for number in range(getattr(plan, split)):
        draw = np.random.default_rng((plan.seed, SHAPE_SPLITS.index(split), number))
        ground = grounds[int(draw.integers(len(grounds)))]
        if draw.uniform() < 0.5:
            ground = ground.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        yield draw_scene(ground, draw)


@lru_cache(maxsize=1)  # for all splits
def _backgrounds(size: int) -> tuple[Image.Image, ...]:
    """Regions of the natural pictures that come with packages, RGB, ``size`` pixels square."""
    found = []
    for photograph in natural_pictures(MOST).members:
        with open_image(photograph.path) as image:
            left, upper, right, lower = photograph.region
            corners = (left * image.width, upper * image.height)
            opposite = (right * image.width, lower * image.height)
            region = image.convert("RGB").resize(
                (size, size), Image.Resampling.BOX, box=(*corners, *opposite)
            )
        found.append(region)
    return tuple(found)


def generate_shapes(folder: str | Path, plan: ShapesPlan | None = None) -> Path:
    """Write the dataset below ``folder`` unless it is there; returns its YAML.

    ``folder/<name>/{images,labels}/{train,calibration,val}/`` and ``data.yaml``, which Ultralytics
    reads as well. The folder appears only when it is whole: an interrupted run leaves none.

    Raises:
        DataError: the folder cannot be written.
        MissingPackageError: scikit-image, which has the backgrounds, is not installed.
    """
    plan = plan or ShapesPlan()
    target = Path(folder).resolve() / plan.name
    if (target / "data.yaml").is_file():
        return target / "data.yaml"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tmp-") as temporary:
            root = Path(temporary) / plan.name
            for split in SHAPE_SPLITS:
                _write_split(root, plan, split)
            _write_yaml(root / "data.yaml")
            shutil.rmtree(target, ignore_errors=True)
            root.replace(target)
    except OSError as error:
        raise DataError(
            f"cannot write the dataset into {target.parent}: {error.strerror or error}"
        ) from error
    return target / "data.yaml"


def _write_split(root: Path, plan: ShapesPlan, split: str) -> None:
    images, labels = root / "images" / split, root / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    bar = tqdm(
        scenes(plan, split), desc=f"drawing {split}", total=getattr(plan, split), leave=False
    )
    for number, scene in enumerate(bar):
        Image.fromarray(scene.pixels).save(images / f"{number:05}.png", compress_level=1)
        lines = [box.line for box in scene.boxes]
        (labels / f"{number:05}.txt").write_text("\n".join([*lines, ""]) if lines else "")


def _write_yaml(path: Path) -> None:
    """Paths relative to the file: Ultralytics resolves them where ``path`` is missing."""
    content = {
        **{split: f"images/{split}" for split in SHAPE_SPLITS},
        "names": dict(enumerate(SHAPES)),
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
