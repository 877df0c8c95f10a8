"""A user's dataset: what is read, and that each flaw is named with its file and its mend."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from qutils.detection import read_detection_data
from qutils.detection.labels import label_file
from qutils.errors import DataError, InvalidInputError
from tests.unit.detection.tiny import NAMES, write_data, write_label, write_picture


def changed(path: Path, /, **changes: object) -> Path:
    content = {**yaml.safe_load(path.read_text()), **changes}
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return path


def listed(folder: Path, split: str) -> list[Path]:
    return sorted((folder / "images" / split).iterdir())


# Good ones ----------------------------------------------------------------------------------------


def test_folders_are_read_sorted(tmp_path):
    data = read_detection_data(write_data(tmp_path))
    assert data.names == NAMES
    assert set(data.splits) == {"train", "calibration", "val"}
    assert data.pictures("val") == tuple(listed(tmp_path, "val"))
    data.check("train", "calibration", "val")


def test_names_may_be_numbered(tmp_path):
    path = write_data(tmp_path, names={2: "c", 0: "a", 1: "b"})
    assert read_detection_data(path).names == ("a", "b", "c")


def test_a_count_alone_numbers_the_classes(tmp_path):
    path = write_data(tmp_path, names=None, nc=2)
    assert read_detection_data(path).names == ("class_0", "class_1")


@pytest.mark.parametrize("whole", [True, False], ids=["whole-paths", "relative"])
def test_a_list_names_pictures(tmp_path, whole):
    path = write_data(tmp_path, train="lists/train.txt")
    (tmp_path / "lists").mkdir()
    names = [str(p if whole else Path("..") / p.relative_to(tmp_path))
             for p in listed(tmp_path, "train")]  # fmt: skip
    (tmp_path / "lists" / "train.txt").write_text("\n".join([*names, "", ""]))
    data = read_detection_data(path)
    assert data.pictures("train") == tuple(listed(tmp_path, "train"))
    data.check("train")


def test_a_split_may_be_several_folders(tmp_path):
    path = write_data(tmp_path, train=["images/train", "images/calibration"], calibration=None)
    assert len(read_detection_data(path).pictures("train")) == 4


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "relative"])
def test_the_path_line_moves_the_start(tmp_path, whole):
    written = write_data(tmp_path / "there")
    path = tmp_path / "elsewhere.yaml"
    shutil.move(written, path)
    changed(path, path=str(tmp_path / "there") if whole else "there")
    assert read_detection_data(path).pictures("val") == tuple(listed(tmp_path / "there", "val"))


def test_a_download_line_is_not_executed(tmp_path):
    trace = tmp_path / "trace"
    line = f"import pathlib; pathlib.Path({str(trace)!r}).touch()"
    data = read_detection_data(write_data(tmp_path, download=line))
    data.check("train", "val")
    assert not trace.exists()


def test_yaml_makes_no_objects(tmp_path):
    path = write_data(tmp_path)
    trace = tmp_path / "trace"
    path.write_text(f"train: !!python/object/apply:os.mkdir ['{trace}']\n{path.read_text()}")
    with pytest.raises(DataError, match="is no YAML"):
        read_detection_data(path)
    assert not trace.exists()


def test_pictures_without_a_label_file_show_nothing(tmp_path):
    data = read_detection_data(write_data(tmp_path))
    label_file(data.pictures("train")[0]).unlink()
    data.check("train")


@pytest.mark.parametrize(
    "line",
    ["0 0.5 0.5 0.2 0.2", "2 0.05 0.5 0.1001 0.3", "0 .1 .1 .9 .1 .5 .8", "", "1.0 .5 .5 1 1"],
    ids=["box", "edge-rounded", "polygon", "empty-file", "class-as-float-whole-picture"],
)
def test_such_lines_are_labels(tmp_path, line):
    data = read_detection_data(write_data(tmp_path))
    write_label(data.pictures("val")[0], line + "\n")
    data.check("val")


# Calibration --------------------------------------------------------------------------------------


def test_calibration_takes_its_own_split_and_else_train(tmp_path):
    data = read_detection_data(write_data(tmp_path))
    assert data.calibration(99) == data.pictures("calibration")
    assert data.calibration(1) == data.pictures("calibration")[:1]
    path = changed(tmp_path / "data.yaml", calibration=None)
    data = read_detection_data(path)
    assert data.calibration(2) == data.pictures("train")


def test_calibration_is_spread_over_the_split(tmp_path):
    path = write_data(tmp_path)
    for i in range(10):
        write_picture(tmp_path / "images" / "calibration" / f"{i}.png", 100 + i)
    names = [p.stem for p in read_detection_data(path).calibration(5)]
    assert names == ["0", "2", "4", "6", "8"]


def test_calibration_pictures_that_are_scored_are_refused_by_their_bytes(tmp_path):
    data = read_detection_data(write_data(tmp_path))
    copied = data.pictures("calibration")[1]
    shutil.copy(data.pictures("val")[0], copied)
    with pytest.raises(DataError, match=r"1 of 2 calibration pictures.*name calibration") as error:
        data.calibration(2)
    assert str(copied) in str(error.value)
    assert str(data.pictures("val")[0]) in str(error.value)
    assert data.calibration(2, scored="train")  # of another split they are free


def test_no_calibration_picture_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="at least one"):
        read_detection_data(write_data(tmp_path)).calibration(0)


# Bad YAML -----------------------------------------------------------------------------------------

BAD = {
    "no-train": ({"train": None}, "no 'train' pictures: add a line 'train:"),
    "no-val": ({"val": None}, "no 'val' pictures: add a line 'val:"),
    "no-names": ({"names": None}, "names no classes: add 'names:'"),
    "empty-names": ({"names": []}, "names no classes"),
    "names-are-a-word": ({"names": "disk"}, "names no classes"),
    "more-names-than-nc": ({"nc": 2}, "3 names, but nc: 2"),
    "numbers-with-a-gap": ({"names": {0: "a", 2: "b"}}, r"numbered 0..1, got \[0, 2\]"),
    "numbers-and-words": ({"names": {0: "a", "one": "b"}}, "numbered 0..1"),
    "folder-missing": ({"val": "images/gone"}, "val is .*gone, which is no folder"),
    "same-folder-twice": ({"val": "images/train"}, "'train' and in 'val': give each split"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_yaml_is_refused(tmp_path, name):
    changes, words = BAD[name]
    path = write_data(tmp_path, **changes)
    with pytest.raises(DataError, match=words) as error:
        read_detection_data(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is missing: give the YAML"),
        (b"train: [", "is no YAML"),
        (b"\xff\xfe\x00", "is no YAML"),
        (b"", "holds no dataset"),
        (b"- a\n- b\n", "holds no dataset: it needs train, val and names"),
        (b"train: \x01", "is no YAML"),
    ],
    ids=["missing", "torn", "not-utf8", "empty", "a-list", "control-character"],
)
def test_what_is_no_dataset_is_refused(tmp_path, content, words):
    path = tmp_path / "data.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        read_detection_data(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_split_is_refused(tmp_path):
    path = write_data(tmp_path, val="images/none")
    (tmp_path / "images" / "none").mkdir()
    (tmp_path / "images" / "none" / "readme.md").write_text("no pictures")
    with pytest.raises(DataError, match="'val' is empty.*none holds no pictures"):
        read_detection_data(path)


def test_a_picture_listed_twice_across_splits_is_refused(tmp_path):
    path = write_data(tmp_path, val="val.txt")
    shared = listed(tmp_path, "train")[1]
    (tmp_path / "val.txt").write_text(f"{listed(tmp_path, 'val')[0]}\n{shared}\n")
    with pytest.raises(DataError, match=re.escape(str(shared))):
        read_detection_data(path)


def test_splits_that_are_not_there_are_refused(tmp_path):
    data = read_detection_data(write_data(tmp_path))
    with pytest.raises(DataError, match=r"no split 'test': add a line 'test:"):
        data.pictures("test")
    with pytest.raises(InvalidInputError, match="did you mean 'val'"):
        data.pictures("vall")


# Bad labels and pictures --------------------------------------------------------------------------

LINES = {
    "pixels": ("1 320 240 64 64", "outside the picture: give shares"),
    "negative": ("1 -0.1 0.5 0.2 0.2", "outside the picture"),
    "not-a-number": ("1 nan 0.5 0.2 0.2", "outside the picture"),
    "class-without-name": ("3 0.5 0.5 0.2 0.2", r"class 3 has no name: there are 0\.\.2"),
    "class-negative": ("-1 0.5 0.5 0.2 0.2", "class -1 has no name"),
    "class-half": ("0.5 0.5 0.5 0.2 0.2", "class 0.5 has no name"),
    "class-nan": ("nan 0.5 0.5 0.2 0.2", "class nan has no name"),
    "class-inf": ("inf 0.5 0.5 0.2 0.2", "class inf has no name"),
    "words": ("disk 0.5 0.5 0.2 0.2", "not numbers: class x y width height"),
    "three-numbers": ("1 0.5 0.5 0.2", "3 numbers after the class"),
    "five-numbers": ("1 0.5 0.5 0.2 0.2 0.9", "5 numbers after the class"),
    "no-width": ("1 0.5 0.5 0 0.2", "without area"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_bad_label_is_named_with_its_line(tmp_path, name):
    line, words = LINES[name]
    data = read_detection_data(write_data(tmp_path))
    path = write_label(data.pictures("val")[1], f"0 0.5 0.5 0.2 0.2\n\n{line}\n")
    with pytest.raises(DataError, match=words) as error:
        data.check("val")
    assert f"{path}, line 3 ({line})" in str(error.value)
    data.check("train")  # others are not looked at


@pytest.mark.parametrize("content", [b"", b"no picture", "torn"], ids=["empty", "text", "torn"])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, content):
    data = read_detection_data(write_data(tmp_path))
    path = data.pictures("train")[1]
    path.write_bytes(path.read_bytes()[:200] if content == "torn" else content)
    with pytest.raises(DataError, match="Remove or replace it") as error:
        data.check("train")
    assert str(path) in str(error.value)


def test_a_picture_that_is_gone_is_named(tmp_path):
    data = read_detection_data(write_data(tmp_path))
    data.pictures("calibration")[0].unlink()
    with pytest.raises(DataError, match="cannot be read") as error:
        data.calibration(2)
    assert str(data.pictures("calibration")[0]) in str(error.value)


def test_a_split_without_any_label_is_refused(tmp_path):
    data = read_detection_data(write_data(tmp_path))
    shutil.rmtree(tmp_path / "labels" / "val")
    with pytest.raises(DataError, match="no picture of split 'val'.*looked for in .*labels/val"):
        data.check("val")


@pytest.mark.parametrize(
    ("picture", "label"),
    [
        ("/d/images/val/7.png", "/d/labels/val/7.txt"),
        ("/images/d/images/7.jpeg", "/images/d/labels/7.txt"),
        ("/d/pictures/7.png", "/d/pictures/7.txt"),
    ],
    ids=["folder", "last-images", "beside"],
)
def test_labels_are_where_yolo_looks_for_them(picture, label):
    assert label_file(Path(picture)).as_posix() == label


def test_labels_of_a_linked_picture_lie_beside_the_link(tmp_path):
    path = write_data(tmp_path)
    (tmp_path / "raw").mkdir()
    for picture in listed(tmp_path, "val"):
        moved = picture.rename(tmp_path / "raw" / picture.name)
        picture.symlink_to(moved)
    read_detection_data(path).check("val")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("one",), "finds 1 classes"),
        (("other", "one"), "class 0 is 'other'"),
    ],
    ids=["fewer", "another order"],
)
def test_a_network_of_other_classes_is_refused(tmp_path, names, message):
    data = read_detection_data(write_data(tmp_path, names=["one", "other"]))
    data.check_names(("One", "other"), Path("net.pt"))
    with pytest.raises(DataError, match=message):
        data.check_names(names, Path("net.pt"))


def test_a_relative_path_to_the_yaml_will_do(tmp_path, monkeypatch):
    write_data(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    found = [p for p in (tmp_path / "set").iterdir() if p.suffix == ".yaml"]
    data = read_detection_data(found[0].relative_to(tmp_path))
    data.check("val")
    assert all(p.is_absolute() for p in data.pictures("train"))


def test_a_root_relative_to_the_working_folder_will_do(tmp_path, monkeypatch):
    path = write_data(tmp_path / "set", path="set")
    monkeypatch.chdir(tmp_path)
    read_detection_data(path).check("val")
