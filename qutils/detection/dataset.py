"""A user's detection dataset: YOLO's YAML and label files, read strictly and executed never."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image, ImageOps
from torch import Tensor

from qutils.errors import DataError, InvalidInputError, unknown_name

#: Endings of pictures.
PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
#: Keys that name splits. ``calibration`` is ours: others tools leave it alone.
SPLITS = ("train", "calibration", "val", "test")
#: How far a box may reach over the edge, as a share of the picture: labels are rounded.
TOLERANCE = 0.01


@dataclass(frozen=True)
class DetectionData:
    """Pictures of each split and the names of the classes; labels lie in ``labels/`` beside.

    ``calibration`` is a split of its own where the YAML has one, else pictures of ``train``, and
    never any that is scored.
    """

    yaml: Path
    names: tuple[str, ...]
    splits: Mapping[str, tuple[Path, ...]]

    def pictures(self, split: str) -> tuple[Path, ...]:
        """The pictures of a split, sorted.

        Raises:
            DataError: the YAML names none.
        """
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        if split not in self.splits:
            raise DataError(f"{self.yaml} has no split {split!r}: add a line '{split}: images/...'")
        return self.splits[split]

    def calibration(self, count: int, scored: str = "val") -> tuple[Path, ...]:
        """``count`` pictures, or as many as there are, to take ranges from, evenly spread.

        Raises:
            DataError: one of them is scored as well: the same file, or another of the same bytes.
            InvalidInputError: ``count`` below 1.
        """
        if count < 1:
            raise InvalidInputError(f"give at least one calibration picture, not {count}")
        found = self.pictures("calibration" if "calibration" in self.splits else "train")
        taken = min(count, len(found))
        chosen = tuple(found[i * len(found) // taken] for i in range(taken))
        self._refuse_scored(chosen, scored)
        return chosen

    def _refuse_scored(self, chosen: Sequence[Path], scored: str) -> None:
        """Raise DataError where a calibration picture is among those that are scored."""
        judged = {_digest(path): path for path in self.pictures(scored)}
        twice = [(path, judged[d]) for path in chosen if (d := _digest(path)) in judged]
        if twice:
            one, other = twice[0]
            raise DataError(
                f"{len(twice)} of {len(chosen)} calibration pictures are scored as well "
                f"({one} is {other}): ranges that are fitted to the pictures that judge them look "
                f"better than they are. In {self.yaml}, name calibration pictures that are not in "
                f"{scored!r}."
            )

    def check(self, *splits: str) -> None:
        """Read every picture's head and every label of these splits.

        Raises:
            DataError: a picture cannot be read; a label is no line of numbers, its class has no
                name, or its box lies outside the picture; no picture of a split has a label.
        """
        for split in splits:
            boxes = 0
            for path in self.pictures(split):
                _check_picture(path)
                boxes += _check_labels(label_file(path), len(self.names))
            if not boxes:
                raise DataError(
                    f"no picture of split {split!r} of {self.yaml} has a label: they are looked "
                    f"for in {label_file(self.pictures(split)[0]).parent}"
                )

    def check_names(self, names: Sequence[str], weights: Path) -> None:
        """Raise DataError unless ``names`` of a network are the classes of this dataset, in order.

        Capitals make no difference; a dataset without names (``nc`` alone) fits by count.
        """
        ours, theirs = ([n.strip().lower() for n in each] for each in (names, self.names))
        mend = "give the data that the network was trained for"
        if len(ours) != len(theirs):
            raise DataError(
                f"{weights} finds {len(ours)} classes, {self.yaml} names {len(theirs)}: {mend}"
            )
        if theirs == [f"class_{i}" for i in range(len(theirs))]:
            return
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            if one != other:
                raise DataError(
                    f"class {number} is {one!r} to {weights} and {other!r} to {self.yaml}: {mend}"
                )

    def only(self, split: str, pictures: Sequence[Path]) -> DetectionData:
        """The same with these pictures in the place of a split's."""
        return replace(self, splits={**self.splits, split: tuple(pictures)})


def read_detection_data(path: str | Path) -> DetectionData:
    """Read a dataset's YAML: ``train``, ``val``, perhaps ``calibration`` and ``test``, ``names``.

    A split is a folder, a ``.txt`` list of pictures, or a list of them; relative ones start at
    ``path:``, or where the YAML lies. A ``download:`` line, which other tools execute, is not.

    Raises:
        DataError: the file is missing or not such a YAML; a split is missing or empty, or shares
            pictures with another one.
    """
    path = Path(path).absolute()
    content = _content(path)
    names = _names(path, content)
    root = path.parent / str(content.get("path") or "")
    if not root.is_dir() and (here := Path(str(content["path"]))).is_dir():
        root = here.absolute()  # where other tools look first
    splits = {
        split: _pictures(path, split, root, content[split])
        for split in SPLITS
        if content.get(split)
    }
    for split in ("train", "val"):
        if split not in splits:
            raise DataError(f"{path} names no {split!r} pictures: add a line '{split}: images/...'")
    _refuse_shared(path, splits)
    return DetectionData(path, names, splits)


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


def boxes_of(picture: Path, size: int) -> Tensor:
    """Labels of a picture as boxes to draw, ``[K, 6]``.

    Left, top, right, bottom [pixels], confidence 1, class. Pixels are those of the picture
    letterboxed to ``size``, as ``read_pictures`` gives it; outlines of more than four numbers are
    skipped.
    """
    path = label_file(picture)
    lines = path.read_text().splitlines() if path.is_file() else []
    rows = [[float(word) for word in line.split()] for line in lines if line.strip()]
    with Image.open(picture) as image:
        sides = ImageOps.exif_transpose(image).size  # as cameras mark it, and as scoring reads it
    scale = size / max(sides)
    width, height = (side * scale for side in sides)
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
        for label, x, y, w, h in (row for row in rows if len(row) == 5)
    ]
    return torch.tensor(boxes).reshape(-1, 6)


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path} is missing: give the YAML of a dataset in YOLO's format")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is no YAML: {reason}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no dataset: it needs train, val and names")
    return content


def _names(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    names, count = content.get("names"), content.get("nc")
    if names is None and isinstance(count, int):
        names = [f"class_{i}" for i in range(count)]
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise DataError(f"{path}: classes are numbered 0..{len(names) - 1}, got {list(names)}")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path} names no classes: add 'names:', one for each number from 0")
    if isinstance(count, int) and count != len(names):
        raise DataError(f"{path}: {len(names)} names, but nc: {count}")
    return tuple(map(str, names))


def _pictures(path: Path, split: str, root: Path, value: Any) -> tuple[Path, ...]:
    found: list[Path] = []
    for one in value if isinstance(value, list) else [value]:
        place = root / str(one)
        if place.is_dir():
            found += [p for p in place.rglob("*") if p.suffix.lower() in PICTURES]
        elif place.suffix == ".txt" and place.is_file():
            lines = [line.strip() for line in place.read_text().splitlines() if line.strip()]
            found += [p if (p := Path(line)).is_absolute() else place.parent / p for line in lines]
        else:
            raise DataError(f"{path}: {split} is {place}, which is no folder and no .txt list")
    if not found:
        raise DataError(f"{path}: split {split!r} is empty, {root / str(value)} holds no pictures")
    # not resolved: a link's labels lie beside the link
    return tuple(sorted(Path(os.path.abspath(p)) for p in found))


def _refuse_shared(path: Path, splits: Mapping[str, tuple[Path, ...]]) -> None:
    """No picture may be in two splits: what is fitted on it may not be judged on it."""
    owner: dict[Path, str] = {}
    for split, pictures in splits.items():
        for picture in pictures:
            first = owner.setdefault(picture.resolve(), split)
            if first != split:
                raise DataError(
                    f"{path}: {picture} is in {first!r} and in {split!r}: give each split pictures "
                    "of its own"
                )


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _check_picture(path: Path) -> None:
    try:
        with Image.open(path) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is no picture that can be read: remove or replace it") from error


def _check_labels(path: Path, classes: int) -> int:
    """How many boxes a label file holds; a picture without one shows nothing."""
    if not path.is_file():
        return 0
    lines = path.read_text(errors="replace").splitlines()
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    for number, line in numbered:
        problem = _problem(line.split(), classes)
        if problem:
            raise DataError(f"{path}, line {number} ({line.strip()[:60]}): {problem}")
    return len(numbered)


def _problem(words: Sequence[str], classes: int) -> str:
    try:
        label, *numbers = map(float, words)
    except ValueError:
        return "not numbers: class x y width height, as shares of the picture"
    if len(numbers) != 4 and (len(numbers) < 6 or len(numbers) % 2):
        return f"{len(numbers)} numbers behind the class: give x y width height"
    if not (0 <= label < classes and label == int(label)):
        return f"class {words[0]} has no name: there are 0..{classes - 1}"
    if not all(0 <= number <= 1 for number in numbers):
        return "outside the picture: give shares in 0..1, not pixels"
    if len(numbers) == 4:
        x, y, width, height = numbers
        if min(width, height) <= 0:
            return "a box without area"
        edges = (x - width / 2, y - height / 2, 1 - x - width / 2, 1 - y - height / 2)
        if min(edges) < -TOLERANCE:
            return "its box reaches outside the picture: clip it"
    return ""
