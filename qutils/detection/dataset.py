"""A user's detection dataset: YOLO's YAML and label files, read strictly and executed never."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qutils.detection.data_yaml import SPLITS, Splits, read_splits, read_yaml
from qutils.detection.split_report import SplitReport, check_split
from qutils.errors import DataError, InvalidInputError, unknown_name


@dataclass(frozen=True)
class DetectionData:
    """Pictures of each split and the names of the classes; labels lie in ``labels/`` beside.

    ``calibration`` is a split of its own where the YAML has one, else pictures of ``train``, and
    never any that is scored.

    Attributes:
        absent: why a split that the YAML names cannot be read; raised when it is asked for.
        keypoints: numbers after each box that say where keypoints are; they are left out.
        notes: what was read otherwise than the YAML says.
    """

    yaml: Path
    names: tuple[str, ...]
    splits: Mapping[str, tuple[Path, ...]]
    absent: Mapping[str, str] = field(default_factory=dict)
    keypoints: int = 0
    notes: tuple[str, ...] = ()

    def pictures(self, split: str) -> tuple[Path, ...]:
        """The pictures of a split, sorted.

        Raises:
            DataError: the YAML names none, or they are not there.
        """
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        if split in self.splits:
            return self.splits[split]
        if split in self.absent:
            raise DataError(self.absent[split])
        raise DataError(f"{self.yaml} has no split {split!r}: add a line '{split}: images/...'")

    def calibration(self, count: int, scored: str = "val") -> tuple[Path, ...]:
        """``count`` pictures, or as many as there are, to take ranges from, evenly spread.

        Raises:
            DataError: one of them is scored as well: the same file, or another of the same bytes.
            InvalidInputError: ``count`` below 1.
        """
        if count < 1:
            raise InvalidInputError(f"give at least one calibration picture, not {count}")
        found = self.pictures("calibration" if self._has_calibration else "train")
        taken = min(count, len(found))
        chosen = tuple(found[i * len(found) // taken] for i in range(taken))
        self._refuse_scored(chosen, scored)
        return chosen

    @property
    def _has_calibration(self) -> bool:
        return "calibration" in self.splits or "calibration" in self.absent

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

    def check(self, *splits: str, labels: bool = True) -> tuple[SplitReport, ...]:
        """Read every picture's head and every label of these splits; report what there is.

        What Ultralytics would leave out, or read otherwise than it is written, is told by one
        warning a split.

        Args:
            labels: whether they are needed: to score and to train, not to calibrate.

        Raises:
            DataError: a picture cannot be read; a label is no line of numbers, its class has no
                name, or its box lies outside the picture; no picture of a split has a label.
        """
        reports = []
        for split in splits:
            classes, keypoints = len(self.names), self.keypoints
            report = check_split(split, self.pictures(split), classes, keypoints, labels)
            if report.notes:
                warnings.warn(
                    f"{self.yaml}, {report.split}: " + "; ".join(report.notes), stacklevel=2
                )
            reports.append(report)
        return tuple(reports)

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

    def alone(self, split: str) -> DetectionData:
        """The same with a split's pictures as ``val``, and nothing else; ``train`` is empty."""
        return replace(self, splits={"train": (), "val": self.pictures(split)})


def read_detection_data(
    path: str | Path, datasets: Callable[[], Path | None] | None = None
) -> DetectionData:
    """Read a dataset's YAML: ``train``, ``val``, perhaps ``calibration`` and ``test``, ``names``.

    A split is a folder, a ``.txt`` list of pictures, or a list of them; relative ones start at
    ``path:``, or where the YAML lies. They are found as Ultralytics finds them: where
    ``../train/images`` is not there, ``train/images`` is read. What is read otherwise than it is
    written is told by one warning. A ``download:`` line, which other tools execute, is not.

    Args:
        path: the YAML, or a folder that holds one.
        datasets: asked for one more folder that a relative ``path:`` may start at.

    Raises:
        DataError: the file is missing or not such a YAML; a split that is needed is missing or
            empty, or shares pictures with another one.
    """
    read = read_yaml(Path(path).absolute())
    names, keypoints = read.names, read.keypoints
    read.check_channels()
    splits = read_splits(read, datasets)
    for split in ("train", "val"):
        if split not in splits.found and split not in splits.absent:
            raise DataError(
                f"{read.path} names no {split!r} pictures: add a line '{split}: images/...'"
            )
    for split in ("val",) if "calibration" in splits.found else ("val", "train"):
        if split in splits.absent:
            raise DataError(splits.absent[split])
    splits = _unshared(read.path, splits)
    if read.notes:
        warnings.warn(f"{read.path}: " + "; ".join(read.notes), stacklevel=2)
    return DetectionData(
        read.path, names, splits.found, splits.absent, keypoints, tuple(read.notes)
    )


def _unshared(path: Path, splits: Splits) -> Splits:
    """No picture may be in two splits: what is fitted on it may not be judged on it.

    ``test``, which is read only when it is asked for, is then absent.

    Raises:
        DataError: two of the other splits share one.
    """
    owner: dict[Path, str] = {}
    found, absent = dict(splits.found), dict(splits.absent)
    for split, pictures in splits.found.items():
        for picture in pictures:
            first = owner.setdefault(picture.resolve(), split)
            if first == split or (first, split) == ("val", "test"):
                continue
            problem = (
                f"{path}: {picture} is in {first!r} and in {split!r}: give each split pictures "
                "of its own"
            )
            if split != "test":
                raise DataError(problem)
            found.pop("test", None)
            absent.setdefault("test", problem)
    return Splits(found, absent)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
