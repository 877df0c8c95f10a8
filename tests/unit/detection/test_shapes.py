"""Generated pictures: the same for every seed, boxes tight around what is to be seen."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import yaml
from PIL import Image

from qutils.detection import SHAPES, Box, ShapesPlan, generate_shapes, read_detection_data, scenes
from qutils.detection import shapes as drawing
from qutils.errors import DataError, InvalidInputError

PLAN = ShapesPlan(train=4, calibration=3, val=4, size=64)


@pytest.fixture
def backgrounds():
    pytest.importorskip("skimage", reason="extra imagenet")


def corners(box: Box, width: int, height: int) -> tuple[float, float, float, float]:
    x, y, w, h = (box.x * width, box.y * height, box.width * width, box.height * height)
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


# Drawing ------------------------------------------------------------------------------------------


@pytest.fixture
def visible(monkeypatch):
    """Draws on black, in colours that tell objects apart, without the camera's flaws."""
    colors = [(i / 8, (i / 8) ** 2, 1.0) for i in range(8)]  # no three on a line: mixtures differ

    def draw(seed: int, size: tuple[int, int]):
        left = iter(colors)
        plain = lambda size, draw: np.full((*size[::-1], 3), next(left), np.float32)  # noqa: E731
        monkeypatch.setattr(drawing, "_texture", plain)
        monkeypatch.setattr(drawing, "_photographed", lambda pixels, draw: pixels)
        scene = drawing.draw_scene(Image.new("RGB", size), np.random.default_rng(seed))
        return scene, colors

    return draw


@pytest.mark.parametrize("size", [(96, 64), (64, 64)], ids=["wide", "square"])
def test_boxes_are_tight_around_what_is_visible(visible, size):
    covered = 0
    for seed in range(30):
        scene, colors = visible(seed, size)
        pixels = np.asarray(scene.pixels)
        assert scene.boxes
        covered += len(scene.boxes) > 1
        for box, color in zip(scene.boxes, colors, strict=False):
            inside = np.abs(pixels - np.array(color)).max(2) < 1e-3  # whole pixels of it
            ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            found = np.array(corners(box, *size))
            seen = np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1])
            outwards = np.array([-1, -1, 1, 1]) * (found - seen)
            # half-covered pixels belong to the box as well: a thin tip is up to some pixels long
            assert outwards.min() >= -1e-6
            assert outwards.max() <= 4
            assert np.abs(outwards).mean() <= 2
            touched = (np.abs(pixels).max(2) > 0).nonzero()
            assert found[0] >= touched[1].min() - 1
            assert found[2] <= touched[1].max() + 2
    assert covered > 10


def test_an_object_behind_others_stays_at_least_half_visible(visible, monkeypatch):
    wholes = []
    original = drawing._mask

    def mask(*arguments):
        wholes.append(original(*arguments))
        return wholes[-1]

    monkeypatch.setattr(drawing, "_mask", mask)
    least = 1.0
    for seed in range(40):
        wholes.clear()
        scene, _ = visible(seed, (64, 64))
        solid = [m > 0.5 for m in wholes]
        if len(scene.boxes) < len(solid):
            continue  # one was left out: which one, this test does not know
        for i, one in enumerate(solid):
            behind = one & ~np.any([np.zeros_like(one), *solid[i + 1 :]], axis=0)
            least = min(least, behind.sum() / one.sum())
    assert drawing.MIN_VISIBLE <= least < 0.9  # and some are covered


@pytest.mark.parametrize("name", SHAPES)
def test_outlines_reach_one_and_no_further(name):
    lengths = [math.hypot(x, y) for x, y in SHAPES[name]]
    assert max(lengths) == pytest.approx(1)
    assert len(set(SHAPES[name])) == len(lengths)


@pytest.mark.parametrize(("name", "area"), [("disk", math.pi), ("square", 2), ("cross", 1.92)])
def test_outlines_have_the_area_of_their_shape(name, area):
    """Shoelace formula; a cross is two bars 0.6 wide and 1.908 long, less the square they share."""
    points = [*SHAPES[name], SHAPES[name][0]]
    twice = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(points))
    assert abs(twice) / 2 == pytest.approx(area, rel=0.01)


def test_a_label_line_is_what_yolo_reads():
    assert Box(3, 0.5, 0.25, 1 / 3, 1.0).line == "3 0.500000 0.250000 0.333333 1.000000"


# Splits -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("backgrounds")
def test_a_seed_gives_the_same_scenes_and_another_gives_others():
    first, again = list(scenes(PLAN, "val")), list(scenes(PLAN, "val"))
    other = list(scenes(ShapesPlan(train=4, calibration=3, val=4, size=64, seed=1), "val"))
    assert len(first) == 4
    for one, two, three in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one.pixels, two.pixels)
        assert one.boxes == two.boxes
        assert not np.array_equal(one.pixels, three.pixels)


@pytest.mark.usefixtures("backgrounds")
def test_a_longer_split_begins_with_the_shorter_one():
    longer = list(scenes(ShapesPlan(train=9, calibration=3, val=6, size=64), "val"))[:4]
    for one, two in zip(longer, scenes(PLAN, "val"), strict=True):
        np.testing.assert_array_equal(one.pixels, two.pixels)


@pytest.mark.usefixtures("backgrounds")
def test_no_picture_is_in_two_splits():
    drawn = [s.pixels.tobytes() for split in ("train", "calibration", "val")
             for s in scenes(PLAN, split)]  # fmt: skip
    assert len(set(drawn)) == len(drawn) == 11


@pytest.mark.usefixtures("backgrounds")
def test_boxes_lie_inside_and_have_a_class_and_an_area():
    plan = ShapesPlan(train=40, calibration=1, val=1, size=64)
    labels = set()
    for scene in scenes(plan, "train"):
        assert scene.pixels.shape == (64, 64, 3)
        assert scene.pixels.dtype == np.uint8
        assert 1 <= len(scene.boxes) <= 5
        for box in scene.boxes:
            labels.add(box.label)
            left, top, right, bottom = corners(box, 64, 64)
            assert min(left, top) >= -1e-6
            assert max(right, bottom) <= 64 + 1e-6
            assert min(right - left, bottom - top) >= 2
    assert labels == set(range(len(SHAPES)))


def test_an_unknown_split_is_refused():
    with pytest.raises(InvalidInputError, match="'test'.*train, calibration, val"):
        next(scenes(PLAN, "test"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 100}, "multiple of 32"),
        ({"size": 0}, "multiple of 32"),
        ({"size": -32}, "multiple of 32"),
        ({"train": 0}, "at least one picture"),
        ({"calibration": 0}, "at least one picture"),
        ({"val": -1}, "at least one picture"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_impossible_plans_are_refused(changes, words):
    with pytest.raises(InvalidInputError, match=words):
        ShapesPlan(**changes)


# Files --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("backgrounds")
def test_the_dataset_is_written_as_it_is_drawn(tmp_path):
    path = generate_shapes(tmp_path, PLAN)
    assert path == tmp_path / PLAN.name / "data.yaml"
    assert PLAN.name == "shapes-64-4-3-4-0"
    data = read_detection_data(path)
    assert data.names == tuple(SHAPES)
    data.check("train", "calibration", "val")
    for split in ("train", "calibration", "val"):
        for picture, scene in zip(data.pictures(split), scenes(PLAN, split), strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(picture)), scene.pixels)
            label = path.parent / "labels" / split / f"{picture.stem}.txt"
            assert label.read_text().splitlines() == [box.line for box in scene.boxes]
    assert "path" not in yaml.safe_load(path.read_text())  # it can be moved
    assert len(data.calibration(99)) == 3


@pytest.mark.usefixtures("backgrounds")
def test_a_second_call_writes_nothing(tmp_path):
    path = generate_shapes(tmp_path, PLAN)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert generate_shapes(tmp_path, PLAN) == path
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


@pytest.mark.usefixtures("backgrounds")
def test_an_interrupted_call_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("qutils.detection.generate._write_yaml", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate_shapes(tmp_path, PLAN)
    assert not list(tmp_path.iterdir())
    assert generate_shapes(tmp_path, PLAN).is_file()


@pytest.mark.usefixtures("backgrounds")
def test_a_folder_without_its_yaml_is_written_anew(tmp_path):
    path = generate_shapes(tmp_path, PLAN)
    path.unlink()
    (path.parent / "images" / "val" / "foreign.png").touch()
    assert generate_shapes(tmp_path, PLAN) == path
    assert len(read_detection_data(path).pictures("val")) == 4


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write the dataset into .*file"):
        generate_shapes(tmp_path / "file" / "below", PLAN)
