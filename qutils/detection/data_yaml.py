"""A dataset's YAML, as Ultralytics reads it: names, where the images are, what was resolved."""

from __future__ import annotations

import glob
import mimetypes
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qutils.errors import DataError
from qutils.reading import MOST_TEXT, parse_yaml, reading

#: Endings of images that Ultralytics takes; those that cannot be decoded are refused, not skipped.
PICTURES = frozenset(
    (
        *(".avif", ".bmp", ".dng", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".mpo", ".png"),
        *(".tif", ".tiff", ".webp"),
    )
)
#: Keys that name splits. ``calibration`` is ours: others tools leave it alone.
SPLITS = ("train", "calibration", "val", "test")
#: Other names of a split; Ultralytics knows the first.
_FIX = "Write train, val and names as YAML in UTF-8"
#: Classes of the largest dataset that is taken for one; COCO has 80, ImageNet-21k 21,841.
MOST_CLASSES = 100_000
#: Numbers of keypoints after a box, 1,000 points of 3.
MOST_KEYPOINTS = 3_000
_ALIASES = {"validation": "val", "valid": "val"}


@dataclass(frozen=True)
class DataYaml:
    """A YAML that was read; ``notes`` collect what was not taken as it is written."""

    path: Path
    content: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes by number; ``class_0`` and so on where only ``nc`` counts them.

        Raises:
            DataError: no names, numbers with gaps, or a count that differs.
        """
        names, count = self.content.get("names"), self._count()
        if names is None and count is not None:
            names = [f"class_{i}" for i in range(count)]
        if isinstance(names, dict):
            numbered = {_whole(key): name for key, name in names.items()}
            if set(numbered) != set(range(len(names))):
                raise DataError(
                    f"{self.path}: classes are numbered 0..{len(names) - 1}, got {list(names)}"
                )
            names = [numbered[i] for i in range(len(names))]
        if not isinstance(names, list) or not names:
            raise DataError(
                f"{self.path} names no classes: add 'names:', one for each number from 0"
            )
        if count is not None and count != len(names):
            raise DataError(f"{self.path}: {len(names)} names, but nc: {count}")
        return tuple(map(str, names))

    def _count(self) -> int | None:
        """``nc``, also written as ``'3'`` or ``3.0``."""
        given = self.content.get("nc")
        count = _whole(given)
        if given is not None and count is None:
            raise DataError(f"{self.path}: nc is {given!r}: give the number of classes, or no 'nc'")
        if count is not None and not 0 < count <= MOST_CLASSES:
            raise DataError(f"{self.path}: nc is {given!r}: give a number in 1..{MOST_CLASSES:,}")
        return count

    @property
    def keypoints(self) -> int:
        """Numbers after each box that say where keypoints are: of a dataset of poses."""
        shape = self.content.get("kpt_shape")
        if shape is None:
            return 0
        sizes = [_whole(side) for side in shape] if isinstance(shape, list) else []
        if len(sizes) != 2 or not all(1 <= (size or 0) <= MOST_KEYPOINTS for size in sizes):
            raise DataError(f"{self.path}: kpt_shape is {shape!r}: give two numbers, [17, 3]")
        return int(sizes[0] or 0) * int(sizes[1] or 0)

    def check_channels(self) -> None:
        """Raise DataError for images that are not read in colour."""
        channels = self.content.get("channels", 3)
        if _whole(channels) != 3:
            raise DataError(
                f"{self.path}: channels is {channels!r}, but images are read in colour: give a "
                "dataset and a network of 3 channels"
            )


def _whole(value: Any) -> int | None:
    """A whole number, also written as text; None of anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() and not isinstance(value, bool) else None


def read_yaml(path: Path) -> DataYaml:
    """Read the YAML of a dataset, or the only one of a folder; nothing in it is executed.

    Raises:
        DataError: the file is missing or holds no dataset.
    """
    if path.is_dir():
        path = _only_yaml(path)
    if not path.is_file():
        raise DataError(f"{path} is missing: give the YAML of a dataset in YOLO's format")
    with reading(path, _FIX, "no YAML", MOST_TEXT):
        content = parse_yaml(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no dataset: it needs train, val and names")
    read = DataYaml(path, dict(content))
    for other, split in _ALIASES.items():
        if content.get(other) and not read.content.get(split):
            read.content[split] = content[other]
            read.notes.append(f"'{other}:' is read as '{split}:'")
        elif content.get(other):
            read.notes.append(f"'{other}:' is not read, as there is '{split}:'")
    return read


def _only_yaml(folder: Path) -> Path:
    found = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if len(found) != 1:
        names = ", ".join(one.name for one in found[:3]) or "none"
        raise DataError(
            f"{folder} is a folder of {len(found)} YAML files ({names}): give the path of one"
        )
    return found[0]


# Where the images are -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Splits:
    """Images of the splits that are there, and why others are not."""

    found: Mapping[str, tuple[Path, ...]]
    absent: Mapping[str, str]


def read_splits(read: DataYaml, datasets: Callable[[], Path | None] | None = None) -> Splits:
    """Find the images of every split that the YAML names; adds to its notes.

    Args:
        datasets: asked for one more folder that a relative ``path:`` may start at.
    """
    root = _root(read, datasets)
    found: dict[str, tuple[Path, ...]] = {}
    absent: dict[str, str] = {}
    for split in SPLITS:
        if read.content.get(split):
            try:
                found[split] = _images(read, split, root)
            except DataError as error:
                absent[split] = str(error)
    return Splits(found, absent)


def _root(read: DataYaml, datasets: Callable[[], Path | None] | None) -> Path:
    """The folder that relative splits start at.

    A relative ``path:`` starts at the working folder, as Ultralytics has it, or where the YAML is,
    whichever has the images to score.
    """
    here, given = read.path.parent, read.content.get("path") or ""
    if not isinstance(given, str):
        raise DataError(f"{read.path}: path is {given!r}: give a folder")
    if not given or Path(given).is_absolute():
        return here / given
    starts = [Path.cwd(), here]
    root = _first_with_images(read, starts, given)
    if root is None and datasets is not None and (more := datasets()) is not None:
        starts.append(more)
        root = _first_with_images(read, starts, given)
    if root is None:
        return next((start / given for start in starts if (start / given).is_dir()), here / given)
    if root.resolve() != (here / given).resolve():
        read.notes.append(f"'path: {given}' is read as {root.resolve()}")
    return root


def _first_with_images(read: DataYaml, starts: list[Path], given: str) -> Path | None:
    for start in starts:
        values = read.content.get("val") or read.content.get("train") or []
        texts = [text for text in _listed(values) if isinstance(text, str)]
        if texts and all(_place(start / given, text)[0].exists() for text in texts):
            return start / given
    return None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _place(root: Path, text: str) -> tuple[Path, str]:
    """Where a split is, and its text as it was read: ``../`` may be said of a folder beside."""
    place = (root / text).resolve()
    if not place.exists() and text.startswith("../") and (root / text[3:]).exists():
        return (root / text[3:]).resolve(), text[3:]
    return place, text


def _images(read: DataYaml, split: str, root: Path) -> tuple[Path, ...]:
    found: list[str] = []
    value = read.content[split]
    for text in _listed(value):
        if not isinstance(text, str):
            raise DataError(f"{read.path}: {split} is {text!r}: give a folder or a .txt list")
        place, taken = _place(root, text)
        if taken != text:
            read.notes.append(f"'{split}: {text}' is read as '{taken}': no such folder")
        if place.is_dir():  # links to folders are followed, hidden files are not read
            inside = glob.glob(f"{glob.escape(str(place))}/**/*.*", recursive=True)
            _note_others(read, place, inside)
            found += inside
        elif place.is_file() and place.suffix.lower() not in PICTURES:
            found += _entries(read, place)
        else:
            raise DataError(
                f"{read.path}: {split} is {place}, which is no folder and no .txt list: "
                + _correction(read, split, root)
            )
    images = [os.path.abspath(one) for one in found if Path(one).suffix.lower() in PICTURES]
    if not images:
        raise DataError(
            f"{read.path}: split {split!r} is empty, {root / str(value)} holds no pictures"
        )
    unique = tuple(sorted({Path(one) for one in images}))  # a link's labels are beside the link
    if len(unique) < len(images):
        read.notes.append(f"images of '{split}:' named twice: {len(images) - len(unique):,}")
    return unique


def _note_others(read: DataYaml, place: Path, files: list[str]) -> None:
    """Note image files of kinds that Ultralytics takes for none."""
    left = [
        Path(one).suffix.lower()
        for one in files
        if Path(one).suffix.lower() not in PICTURES
        and (mimetypes.guess_type(one)[0] or "").startswith("image/")
    ]
    if left:
        endings = ", ".join(sorted(set(left)))
        read.notes.append(
            f"images in {place} that Ultralytics leaves out ({endings}): {len(left):,}"
        )


def _correction(read: DataYaml, split: str, root: Path) -> str:
    if read.content.get("path") and not root.is_dir():
        return "correct 'path:', or remove it if splits start at the folder of the YAML"
    return f"correct '{split}:', which starts at {root.resolve()}"


def _entries(read: DataYaml, place: Path) -> list[str]:
    """Images of a list: ``./a.jpg`` starts at the list, others at the working folder, or there."""
    with reading(place, "Save it as UTF-8 text, one path a line", "no list of images", MOST_TEXT):
        lines = place.read_text(encoding="utf-8-sig").splitlines()
    texts = [line.strip() for line in lines if line.strip()]
    images = [text for text in texts if Path(text).suffix.lower() in PICTURES]
    if len(images) < len(texts):
        left = next(text for text in texts if text not in set(images))
        read.notes.append(
            f"lines of {place} that name no image, left out: {len(texts) - len(images):,} "
            f"(the first is {left[:60]!r})"
        )
    started = [_entry(place.parent, text) for text in images]
    if moved := sum(working for _, working in started):
        read.notes.append(f"paths of {place} read as starting at {Path.cwd()}: {moved:,}")
    return [str(entry) for entry, _ in started]


def _entry(folder: Path, text: str) -> tuple[Path, bool]:
    """Where an entry is, and whether it starts at the working folder alone."""
    working, listed = Path.cwd() / text, folder / text  # of a whole path, the path itself
    if text.startswith("./") or not working.exists():
        return listed, False
    return working, working.resolve() != listed.resolve()
