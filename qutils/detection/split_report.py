"""What a split holds: images that can be read, their labels, and what is left out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qutils.detection.labels import Labels, label_file, read_labels
from qutils.errors import DataError
from qutils.images import ImageFacts, UnreadableImageError, check_whole, image_facts

#: Pixels of the shortest side, and formats by content, that Ultralytics does not leave out.
_LEAST = 10
_FORMATS = ("AVIF", "BMP", "DNG", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP")


@dataclass(frozen=True)
class SplitReport:
    """Counts of a split that was checked; of one that was read without labels, ``labelled`` is 0.

    Attributes:
        labelled, unlabelled: images whose label file has boxes, and images that show nothing.
        boxes: of all images.
        polygons: those of ``boxes`` that are around an outline.
        mixed: label files of both boxes and outlines.
        duplicates: lines that repeat another one of their file; they are left out.
        outside: boxes that reach over the edge of their image.
        deep: grey images of 16 bits, of which the upper 8 are read.
        frames: images of several frames, of which the first is read.
    """

    split: str
    images: int
    labelled: int = 0
    unlabelled: int = 0
    boxes: int = 0
    polygons: int = 0
    mixed: int = 0
    duplicates: int = 0
    outside: int = 0
    deep: int = 0
    frames: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out, or read otherwise than it is written."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if self.mixed:
            yield (
                f"label files with boxes and outlines: {self.mixed:,} (Ultralytics leaves out "
                "their images; here each outline counts as the box around it)"
            )
        if self.duplicates:
            yield f"repeated labels, left out: {self.duplicates:,}"
        if self.outside:
            yield f"boxes over the edge of their image, kept as they are: {self.outside:,}"
        if self.deep:
            yield f"images of 16 bits, read by their upper 8: {self.deep:,}"
        if self.frames:
            yield f"images of several frames, read by their first: {self.frames:,}"

    def __str__(self) -> str:
        """In the words of a summary.

        >>> print(SplitReport("val", 5, labelled=4, unlabelled=1, boxes=9, polygons=2))
        val: 5 images, 4 with labels (9 boxes, 2 of them around outlines), 1 without
        """
        text = f"{self.split}: {self.images:,} {'image' if self.images == 1 else 'images'}"
        if self.labelled:
            around = f", {self.polygons:,} of them around outlines" if self.polygons else ""
            boxes = "box" if self.boxes == 1 else "boxes"
            text += f", {self.labelled:,} with labels ({self.boxes:,} {boxes}{around})"
            text += f", {self.unlabelled:,} without"
        return "; ".join([text, *self.notes])


def check_split(
    split: str, paths: Sequence[Path], classes: int, keypoints: int = 0, labels: bool = True
) -> SplitReport:
    """Read the head of every image of a split, and its labels if they are needed.

    Args:
        classes, keypoints, labels: as ``read_labels`` and ``DetectionData.check`` take them.

    Raises:
        DataError: images or labels are invalid, counted, and the first is named; no image has a
            label.
    """
    facts: list[ImageFacts] = []
    read: list[Labels] = []
    invalid: list[str] = []
    for path in paths:
        try:
            facts.append(_facts(path, labels))
            if labels:
                read.append(read_labels(label_file(path), classes, keypoints) or Labels())
        except DataError as error:
            invalid.append(str(error))
    labelled = sum(bool(one.boxes) for one in read)
    if invalid:
        raise DataError(
            f"{len(invalid):,} of {len(paths):,} images of split {split!r} are invalid or have "
            f"invalid labels ({labelled:,} have labels, {len(read) - labelled:,} none). The first: "
            f"{invalid[0]}"
        )
    if labels and not labelled:
        raise DataError(
            f"no picture of split {split!r} has a label: they are looked for in "
            f"{label_file(paths[0]).parent}"
        )
    return SplitReport(
        split,
        len(paths),
        labelled,
        len(read) - labelled,
        sum(len(one.boxes) for one in read),
        sum(one.polygons for one in read),
        sum(one.mixed for one in read),
        sum(one.duplicates for one in read),
        sum(one.outside for one in read),
        sum(one.deep for one in facts),
        sum(one.frames for one in facts),
    )


def _facts(path: Path, labels: bool) -> ImageFacts:
    """The head of a sound image; of one with labels, also of a kind that Ultralytics takes."""
    facts = image_facts(path)
    check_whole(path)
    if labels and min(facts.width, facts.height) < _LEAST:
        raise UnreadableImageError(
            path,
            f"{facts.width} x {facts.height} pixels, and Ultralytics leaves out images below "
            f"{_LEAST} pixels",
        )
    if labels and facts.format not in _FORMATS:
        raise UnreadableImageError(path, f"it holds {facts.format}, which Ultralytics leaves out")
    return facts
