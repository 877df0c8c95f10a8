"""Label files of YOLO: one object a line, a box or an outline, in shares of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qutils.errors import DataError
from qutils.images import image_facts
from qutils.reading import read_text

#: How far numbers may leave 0..1: labels are rounded. As Ultralytics has it.
TOLERANCE = 0.01
#: Class, centre x, centre y, width, height.
Row = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Labels:
    """The objects of one image as boxes; Ultralytics reads polygons so for detection.

    Attributes:
        boxes: class, centre x, centre y, width, height as shares of the image; repeats left out.
        polygons: how many of them are boxes around outlines.
        duplicates: lines that were left out, as they repeat another one.
        outside: boxes that reach over the edge of the image by more than ``TOLERANCE``.
        rewritten: whether Ultralytics, given the file itself, would read other boxes or none.
    """

    boxes: tuple[Row, ...] = ()
    polygons: int = 0
    duplicates: int = 0
    outside: int = 0
    rewritten: bool = False

    @property
    def mixed(self) -> bool:
        """Whether some lines were boxes and others outlines."""
        return 0 < self.polygons < len(self.boxes)

    @property
    def text(self) -> str:
        """The boxes as a label file."""
        lines = [f"{int(row[0])} {' '.join(f'{x:.9g}' for x in row[1:])}" for row in self.boxes]
        return "".join(f"{line}\n" for line in lines)


def label_file(picture: Path) -> Path:
    """Where YOLO looks for labels: ``.../images/a.jpg -> .../labels/a.txt``.

    >>> label_file(Path("/data/images/val/7.png")).as_posix()
    '/data/labels/val/7.txt'
    """
    parts = list(picture.parts)
    places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def read_labels(path: Path, classes: int | None = None, keypoints: int = 0) -> Labels | None:
    """Read a label file; None if there is none: its image shows nothing.

    Args:
        classes: how many have names; None accepts every number.
        keypoints: numbers after the box that say where keypoints are; they are left out.

    Raises:
        DataError: a line is no box and no outline, its class has no name, or it lies outside the
            image; names file and line.
    """
    if not path.is_file():
        return None
    lines = _lines(path)
    found: dict[bytes, list[float]] = {}
    for number, line in lines:
        try:
            values = _values(line.split(), classes, keypoints)
        except ValueError as problem:
            raise DataError(f"{path}, line {number} ({line.strip()[:60]}): {problem}") from None
        found.setdefault(np.array(values, np.float32).tobytes(), values)
    boxes = tuple(_box(values) for values in found.values())
    polygons = sum(len(values) > 5 for values in found.values())
    return Labels(
        boxes,
        polygons,
        duplicates=len(lines) - len(boxes),
        outside=sum(map(_reaches_out, boxes)),
        rewritten=0 < polygons < len(boxes) or (keypoints > 0 and bool(boxes)),
    )


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    text = read_text(path, "Save it as UTF-8 text, one label a line", "utf-8-sig")
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _values(words: Sequence[str], classes: int | None, keypoints: int) -> list[float]:
    """Class and numbers of a line; ValueError says what is wrong with it."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise ValueError("not numbers: class x y width height, as shares of the picture") from None
    if keypoints and len(values) == 5 + keypoints:
        values = values[:5]
    label, *numbers = values
    if len(numbers) != 4 and (len(numbers) < 6 or len(numbers) % 2):
        raise ValueError(f"{len(numbers)} numbers after the class: give x y width height")
    if not (0 <= label < (classes or math.inf) and label == int(label)):
        known = "numbers from 0" if classes is None else f"0..{classes - 1}"
        raise ValueError(f"class {words[0]} has no name: there are {known}")
    box = _box(values)[1:]
    inside = all(-TOLERANCE <= number <= 1 + TOLERANCE for number in box)
    if not (inside and all(map(math.isfinite, values))):
        raise ValueError("outside the picture: give shares in 0..1, not pixels")
    if min(box[2:]) <= 0:
        raise ValueError("a box without area")
    return values


def _box(values: Sequence[float]) -> Row:
    """The box of a line, around its outline if it has one."""
    label, *rest = values
    if len(rest) == 4:
        x, y, width, height = rest
        return label, x, y, width, height
    left, right, top, bottom = min(rest[::2]), max(rest[::2]), min(rest[1::2]), max(rest[1::2])
    return label, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _reaches_out(row: Row) -> bool:
    _, x, y, width, height = row
    edges = (x - width / 2, y - height / 2, 1 - x - width / 2, 1 - y - height / 2)
    return min(edges) < -TOLERANCE


def boxes_of(picture: Path, size: int) -> Tensor:
    """Labels of a picture as boxes to draw, ``[K, 6]``.

    Left, top, right, bottom [pixels], confidence 1, class. Pixels are those of the picture
    letterboxed to ``size``, as ``read_pictures`` gives it; an outline becomes the box around it.
    """
    labels = read_labels(label_file(picture)) or Labels()
    facts = image_facts(picture)
    scale = size / max(facts.width, facts.height)
    width, height = facts.width * scale, facts.height * scale
    left, top = (size - width) / 2, (size - height) / 2
    boxes = [
        [
            left + (x - w / 2) * width,
            top + (y - h / 2) * height,
            left + (x + w / 2) * width,
            top + (y + h / 2) * height,
            1.0,
            label,
        ]
        for label, x, y, w, h in labels.boxes
    ]
    return torch.tensor(boxes).reshape(-1, 6)
