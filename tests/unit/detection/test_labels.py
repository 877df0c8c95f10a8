"""Label files: the boxes that Ultralytics reads of them, also where it would read none."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from PIL import Image

from qutils.detection import boxes_of
from qutils.detection.labels import Labels, read_labels
from qutils.errors import DataError
from tests.unit.detection.tiny import write_label, write_picture

BOX, OTHER = "1 0.5 0.5 0.25 0.5", "0 0.2 0.3 0.1 0.1"
OUTLINE = "0 0.1 0.1 0.4 0.1 0.4 0.4"
POSE = f"{BOX} 0.1 0.2 2 0.3 0.4 1"  # two keypoints of three numbers

#: By name: text, keypoint numbers, and whether a file as it is gives Ultralytics these boxes.
FILES = {
    "boxes": (f"{BOX}\n{OTHER}\n", 0, True),
    "one-line": (BOX, 0, True),
    "windows": (f"{BOX}\r\n\r\n{OTHER} \r\n", 0, True),
    "tabs": (BOX.replace(" ", "\t"), 0, True),
    "byte-order-mark": (f"\ufeff{BOX}\n", 0, True),
    "empty": ("\n", 0, True),
    "outline": (f"{OUTLINE}\n", 0, True),
    "corners": ("1 .1 .1 .9 .1 .9 .8 .1 .8\n", 0, True),
    "outline-over-the-edge": ("0 -0.02 0.1 0.9 0.1 0.5 0.9\n", 0, True),
    "repeats": (f"{BOX}\n{OTHER}\n{BOX}\n1.0 .50 .50 .25 .50\n", 0, True),
    "repeated-outlines": (f"{OUTLINE}\n{OUTLINE}\n", 0, True),
    "outlines-of-one-box": (f"{OUTLINE}\n0 0.1 0.4 0.1 0.1 0.4 0.1\n", 0, True),
    "over-the-edge": ("1 0.9 0.5 0.4 0.2\n", 0, True),
    "rounded-up": ("1 0.5 0.5 1.004 1.0\n", 0, True),
    "mixed": (f"{BOX}\n{OUTLINE}\n", 0, False),
    "mixed-with-repeats": (f"{OUTLINE}\n{BOX}\n{OUTLINE}\n{BOX}\n", 0, False),
    "poses": (f"{POSE}\n{OTHER} 0.1 0.2 2 0.3 0.4 1\n", 6, False),
}


@pytest.fixture
def picture(tmp_path):
    return write_picture(tmp_path / "images" / "a.png", 0)


def theirs(picture, path):
    """What Ultralytics reads, sorted, and its message."""
    utils = importlib.import_module("ultralytics.data.utils")
    found = utils.verify_image_label((str(picture), str(path), "", False, 2, 0, 0, False))
    return None if found[0] is None else np.array(sorted(map(tuple, found[1]))).reshape(-1, 5)


@pytest.mark.parametrize("name", FILES)
def test_boxes_are_those_that_the_scorer_reads(yolo, picture, name):
    text, keypoints, as_it_is = FILES[name]
    path = write_label(picture, text)
    path.write_bytes(text.encode())  # with its line ends
    labels = read_labels(path, 2, keypoints)
    assert labels.rewritten == (not as_it_is)
    if labels.rewritten:
        if not keypoints:
            assert theirs(picture, path) is None  # it leaves the image out
        path.write_text(labels.text)
    ours = np.array(sorted(labels.boxes)).reshape(-1, 5)
    np.testing.assert_allclose(ours, theirs(picture, path), atol=1e-6)


def test_the_box_of_an_outline_is_around_it(picture):
    assert read_labels(write_label(picture, OUTLINE), 2).boxes == (
        (0.0, pytest.approx(0.25), pytest.approx(0.25), pytest.approx(0.3), pytest.approx(0.3)),
    )


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("boxes", (2, 0, 0, 0, False)),
        ("empty", (0, 0, 0, 0, False)),
        ("outline", (1, 1, 0, 0, False)),
        ("repeats", (2, 0, 2, 0, False)),
        ("outlines-of-one-box", (2, 2, 0, 0, False)),
        ("over-the-edge", (1, 0, 0, 1, False)),
        ("rounded-up", (1, 0, 0, 0, False)),
        ("mixed", (2, 1, 0, 0, True)),
        ("mixed-with-repeats", (2, 1, 2, 0, True)),
    ],
)
def test_what_is_left_out_is_counted(picture, name, counts):
    got = read_labels(write_label(picture, FILES[name][0]), 2)
    assert (len(got.boxes), got.polygons, got.duplicates, got.outside, got.mixed) == counts


def test_no_file_is_not_an_empty_one(picture, tmp_path):
    assert read_labels(tmp_path / "none.txt", 2) is None
    assert read_labels(write_label(picture, ""), 2) == Labels()


BAD = {
    "utf-16": (BOX.encode("utf-16"), "is no UTF-8 text .*one label a line"),
    "confidence": (f"{BOX} 0.9".encode(), "line 1 .*5 numbers after the class"),
    "odd-outline": (f"{OUTLINE} 0.4".encode(), "7 numbers after the class"),
    "outline-in-pixels": (b"0 10 10 40 10 40 40", "give shares in 0..1, not pixels"),
    "outline-of-nan": (b"0 nan 0.1 0.4 0.1 0.4 0.4", "outside the picture"),
    "flat-outline": (b"0 0.1 0.1 0.4 0.1 0.9 0.1", "a box without area"),
    "mixed-and-no-class": (f"{BOX}\n2 .1 .1 .4 .1 .4 .4".encode(), r"line 2 .*0\.\.1"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_the_scorer_drops_with_its_image_is_refused(yolo, picture, name):
    content, words = BAD[name]
    path = write_label(picture, "")
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        read_labels(path, 2)
    assert str(path) in str(error.value)
    if name != "flat-outline":  # a box that nothing can find: it would count against every network
        assert theirs(picture, path) is None


def test_boxes_to_draw_are_upright_and_in_pixels(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter: 20 wide, 40 high
    picture = tmp_path / "images" / "a.jpg"
    picture.parent.mkdir()
    Image.new("RGB", (40, 20)).save(picture, exif=exif)
    write_label(picture, "1 0.5 0.25 1.0 0.5\n0 0 0 0.5 0 0.5 1 0 1\n")
    expected = [[16, 0, 48, 32, 1, 1], [16, 0, 32, 64, 1, 0]]
    torch.testing.assert_close(boxes_of(picture, 64), torch.tensor(expected).float())


def test_an_image_without_labels_has_no_boxes_to_draw(picture):
    assert boxes_of(picture, 64).shape == (0, 6)
