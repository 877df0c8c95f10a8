"""What a split holds is counted; what Ultralytics would leave out is refused or told."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qutils import detection as d
from qutils.detection.labels import label_file
from qutils.detection.links import write_yaml
from qutils.errors import DataError
from tests.unit.detection.tiny import NAMES, write_data, write_label, write_picture

BOX, OUTLINE = "1 0.5 0.5 0.25 0.5\n", "0 0.1 0.1 0.4 0.1 0.4 0.4\n"


@pytest.fixture
def data(tmp_path) -> d.DetectionData:
    """Six images to score; the first two have a box each."""
    path = write_data(tmp_path)
    for i in range(2, 6):
        write_picture(tmp_path / "images" / "val" / f"{i}.png", 40 + i)
    return d.read_detection_data(path)


def checked(data: d.DetectionData, **options: bool) -> tuple[d.SplitReport, str]:
    """The report of ``val`` and its one warning, empty if there is none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (report,) = data.check("val", **options)
    assert len(caught) <= 1
    return report, "".join(str(one.message) for one in caught)


def test_images_with_labels_and_without_are_counted(data):
    write_label(data.pictures("val")[2], "")
    report, warning = checked(data)
    assert report == d.SplitReport("val", 6, labelled=2, unlabelled=4, boxes=2)
    assert str(report) == "val: 6 images, 2 with labels (2 boxes), 4 without"
    assert not warning


def test_without_labels_only_images_are_read(data):
    write_label(data.pictures("val")[0], "no label")
    report, warning = checked(data, labels=False)
    assert str(report) == "val: 6 images"
    assert not warning


TOLD = {
    "mixed": (BOX + OUTLINE, "label files with boxes and outlines: 1 (Ultralytics leaves out"),
    "repeats": (BOX + BOX, "repeated labels, left out: 1"),
    "over-the-edge": (
        "1 0.9 0.5 0.4 0.2\n",
        "boxes over the edge of their image, kept as they are: 1",
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_is_read_otherwise_is_told_once(data, name):
    text, words = TOLD[name]
    write_label(data.pictures("val")[0], text)
    report, warning = checked(data)
    assert words in warning
    assert warning == f"{data.yaml}, val: {report.notes[0]}"
    assert words in str(report)


def test_outlines_alone_are_no_cause_to_warn(data):
    write_label(data.pictures("val")[0], OUTLINE)
    report, warning = checked(data)
    assert (report.boxes, report.polygons, report.mixed) == (2, 1, 0)
    assert "(2 boxes, 1 of them around outlines)" in str(report)
    assert not warning


def test_deep_and_animated_images_are_told(data):
    one, other, *_ = data.pictures("val")
    deep = np.full((16, 16), 30_000, np.uint16)
    Image.fromarray(deep).save(one)
    frames = [Image.new("RGB", (16, 16), shade) for shade in ("red", "blue")]
    frames[0].save(other, save_all=True, append_images=frames[1:])
    _, warning = checked(data)
    assert "images of 16 bits, read by their upper 8: 1" in warning
    assert "images of several frames, read by their first: 1" in warning


def test_invalid_ones_are_counted_beside_those_with_labels_and_without(data):
    bad = data.pictures("val")
    write_label(bad[4], "7 0.5 0.5 0.2 0.2\n")
    bad[5].write_bytes(b"no image")
    with pytest.raises(DataError) as error:
        data.check("val")
    assert str(error.value) == (
        "2 of 6 images of split 'val' are invalid or have invalid labels (2 have labels, 2 none). "
        f"The first: {label_file(bad[4])}, line 1 (7 0.5 0.5 0.2 0.2): class 7 has no name: there "
        "are 0..2"
    )


def test_images_that_ultralytics_leaves_out_are_refused(data):
    small, other = data.pictures("val")[:2]
    Image.new("RGB", (30, 9)).save(small)
    with pytest.raises(DataError, match=r"30 x 9 pixels, and Ultralytics leaves out .* below 10"):
        data.check("val")
    data.check("val", labels=False)  # but ranges can be taken of them
    write_picture(small, 0)
    Image.new("RGB", (30, 30)).save(other, format="GIF")
    with pytest.raises(DataError, match="it holds GIF, which Ultralytics leaves out"):
        data.check("val")


def test_a_truncated_jpeg_is_found_by_its_end(data, tmp_path):
    picture = write_picture(tmp_path / "images" / "val" / "9.jpg", 9, (64, 64))
    data = d.read_detection_data(data.yaml)
    data.check("val")
    picture.write_bytes(picture.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"9\.jpg cannot be read: .*truncated"):
        data.check("val")


# As the scorer sees it ----------------------------------------------------------------------------


class Labelled:
    """Predicts the boxes of each image, in the order of the loader."""

    def __init__(self, boxes: list[list[tuple[float, ...]]], size: int) -> None:
        self.boxes, self.size = list(boxes), size

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(len(x), 4 + len(NAMES), 84)
        for i in range(len(x)):
            for place, (label, *box) in enumerate(self.boxes.pop(0)):
                found[i, :4, place] = torch.tensor(box) * self.size
                found[i, 4 + int(label), place] = 0.9
        return found


def square(path: Path) -> Path:
    """Square images have no border: shares of them are shares of the input."""
    for picture in (path.parent / "images" / "val").iterdir():
        write_picture(picture, int(picture.stem), (32, 32))
    return path


def test_every_image_is_scored_with_all_its_boxes(yolo, tmp_path):
    path = square(write_data(tmp_path))
    data = d.read_detection_data(path)
    for picture in data.pictures("val"):
        write_label(picture, f"{BOX}0 0.1 0.1 0.4 0.1 0.4 0.4 0.1 0.4\n")
    boxes = [[(1, 0.5, 0.5, 0.25, 0.5), (0, 0.25, 0.25, 0.3, 0.3)]] * 2
    scores = d.score(Labelled(boxes, 32), data, 32)
    assert scores.pictures == 2
    assert scores.map50_95 == pytest.approx(99.5, abs=0.6)
    half = [one[:1] for one in boxes]  # the outlines count: who does not find them loses by half
    assert d.score(Labelled(half, 32), data, 32).map50_95 == pytest.approx(49.75, abs=0.6)


@pytest.mark.parametrize("left", [1, 2], ids=["one", "all"])
def test_a_score_of_fewer_images_than_the_split_has_is_refused(yolo, tmp_path, left):
    data = d.read_detection_data(write_data(tmp_path))
    for picture in data.pictures("val")[:left]:
        write_picture(picture, 0, (9, 9))  # nobody asked ``check``
    words = r"leaves out 1 of 2 .* the first is .*0\.png" if left == 1 else "reads no image of"
    with pytest.raises(DataError, match=words):
        d.score(Labelled([[]] * 2, 32), data, 32)


def test_an_image_that_opencv_alone_cannot_decode_is_named(yolo, tmp_path):
    data = d.read_detection_data(write_data(tmp_path))
    picture = data.pictures("val")[1]
    Image.fromarray(np.zeros((16, 16), np.float32)).save(picture, format="TIFF")
    with pytest.raises(DataError, match=r"1\.png cannot be decoded by OpenCV. Remove or replace"):
        d.score(Labelled([[]] * 2, 32), data, 32)


def test_invalid_labels_are_refused_before_they_are_scored(yolo, tmp_path):
    data = d.read_detection_data(write_data(tmp_path))
    path = write_label(data.pictures("val")[1], "3 0.5 0.5 0.2 0.2")
    with pytest.raises(DataError, match="class 3 has no name") as error:
        d.score(Labelled([[]] * 2, 32), data, 32)
    assert str(path) in str(error.value)


def test_other_splits_are_not_read_to_score_one(yolo, tmp_path):
    data = d.read_detection_data(write_data(tmp_path))
    for picture in data.pictures("train"):
        write_label(picture, "no label")
    assert d.score(Labelled([[]] * 2, 32), data, 32).pictures == 2


def test_mixed_labels_are_written_as_boxes_and_the_users_file_stays(tmp_path):
    data = d.read_detection_data(write_data(tmp_path / "given"))
    path = write_label(data.pictures("val")[0], BOX + OUTLINE)
    write_yaml(data, tmp_path / "linked")
    linked = sorted((tmp_path / "linked" / "labels" / "val").iterdir())
    assert linked[0].read_text() == "1 0.5 0.5 0.25 0.5\n0 0.25 0.25 0.3 0.3\n"
    assert not linked[0].is_symlink()
    assert linked[1].is_symlink()
    assert path.read_text() == BOX + OUTLINE
