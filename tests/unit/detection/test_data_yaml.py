"""A dataset's YAML: images are found where Ultralytics finds them, and what differs is told."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import pytest
import yaml

from qutils.detection import read_detection_data
from qutils.errors import DataError
from tests.unit.detection.tiny import write_label, write_picture

SPLITS = {"train": "train/images", "val": "valid/images"}


def layout(folder: Path, /, **content: object) -> Path:
    """Folders ``train`` and ``valid`` with two images each, and a YAML; None leaves a key out."""
    for number, split in enumerate(("train", "valid")):
        for i in range(2):
            picture = write_picture(folder / split / "images" / f"{i}.png", 10 * number + i)
            write_label(picture, "1 0.5 0.5 0.25 0.5\n")
    return write(folder / "data.yaml", **{**SPLITS, "names": ["a", "b"], **content})


def write(path: Path, /, **content: object) -> Path:
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return path


def told(path: Path | str):
    """The dataset and its one warning, empty if there is none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = read_detection_data(path)
    messages = [str(one.message) for one in caught]
    assert len(messages) <= 1
    assert "; ".join(data.notes) in "".join(messages)
    return data, "".join(messages)


def images(folder: Path, split: str) -> tuple[Path, ...]:
    return tuple(sorted((folder / split / "images").iterdir()))


@pytest.fixture
def agree(yolo, tmp_path):
    """Checks that Ultralytics finds the same images and names."""

    def compare(path: Path, data) -> None:
        found = importlib.import_module("ultralytics.data.utils").check_det_dataset(str(path))
        base = importlib.import_module("ultralytics.data.base").BaseDataset
        reader = base.__new__(base)
        reader.prefix, reader.fraction = "", 1.0
        for split in ("train", "val"):
            files = map(Path, reader.get_img_files(found[split]))
            assert sorted(f.absolute() for f in files) == sorted(data.pictures(split))
        assert tuple(found["names"].values()) == data.names

    return compare


# Where images are ---------------------------------------------------------------------------------

WHERE = {
    "as-written": ({}, ""),
    "beside-in-words": (
        {"train": "../train/images", "val": "../valid/images"},
        "'train: ../train/images' is read as 'train/images': no such folder; "
        "'val: ../valid/images' is read as 'valid/images': no such folder",
    ),
    "validation": ({"val": None, "validation": "valid/images"}, "'validation:' is read as 'val:'"),
    "path-is-empty": ({"path": ""}, ""),
    "test-is-not-there": ({"test": "test/images"}, ""),
    "test-is-beside-in-words": ({"test": "../test/images"}, ""),
    "whole-folders": ({"train": "train", "val": "valid"}, ""),
    "several-folders": ({"train": ["train/images", "train"]}, "images of 'train:' named twice: 2"),
    "count-as-text": ({"nc": "2"}, ""),
    "count-as-float": ({"nc": 2.0}, ""),
    "names-numbered-in-text": ({"names": {"1": "b", "0": "a"}}, ""),
    "names-that-yaml-takes-for-more": ({"names": [True, 3]}, ""),
}


@pytest.mark.parametrize("name", WHERE)
def test_images_are_found_and_what_was_resolved_is_told_once(tmp_path, agree, name):
    content, words = WHERE[name]
    path = layout(tmp_path / "My Project-3", **content)
    data, warning = told(path)
    assert warning == (f"{path}: {words}" if words else "")
    assert data.pictures("val") == images(path.parent, "valid")
    assert data.pictures("train") == images(path.parent, "train")
    if name not in ("several-folders", "names-numbered-in-text"):  # it reads images twice; by order
        agree(path, data)


def test_a_byte_order_mark_is_no_content(tmp_path, agree):
    path = layout(tmp_path)
    path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
    agree(path, read_detection_data(path))


def test_valid_is_read_as_val_and_told(tmp_path):
    path = layout(tmp_path, val=None, valid="../valid/images")
    data, warning = told(path)
    assert "'valid:' is read as 'val:'" in warning
    assert data.pictures("val") == images(tmp_path, "valid")


def test_a_second_name_of_val_is_told(tmp_path):
    path = layout(tmp_path, validation="train/images")
    data, warning = told(path)
    assert "'validation:' is not read, as there is 'val:'" in warning
    assert data.pictures("val") == images(tmp_path, "valid")


def test_a_folder_that_is_there_is_read_as_it_is_written(tmp_path, agree):
    layout(tmp_path, names=["a", "b"])  # another dataset's folders beside that of the YAML
    path = layout(tmp_path / "mine", train="../train/images", val="../valid/images")
    data, warning = told(path)
    assert not warning
    assert data.pictures("val") == images(tmp_path, "valid")
    agree(path, data)


def test_a_root_beside_the_working_folder_is_told(tmp_path, monkeypatch, agree):
    path = layout(tmp_path / "datasets" / "x", path="../datasets/x")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    data, warning = told(path)
    assert f"'path: ../datasets/x' is read as {tmp_path / 'datasets' / 'x'}" in warning
    assert data.pictures("val") == images(tmp_path / "datasets" / "x", "valid")
    agree(path, data)


def test_the_working_folder_comes_first_as_with_ultralytics(tmp_path, monkeypatch, agree):
    path = layout(tmp_path / "set", path="mine")
    layout(tmp_path / "set" / "mine")
    layout(tmp_path / "work" / "mine")
    monkeypatch.chdir(tmp_path / "work")
    data, warning = told(path)
    assert f"'path: mine' is read as {tmp_path / 'work' / 'mine'}" in warning
    assert data.pictures("val") == images(tmp_path / "work" / "mine", "valid")
    agree(path, data)


def test_a_root_here_is_the_folder_of_the_yaml_unless_the_working_folder_has_the_images(
    tmp_path, monkeypatch
):
    path = layout(tmp_path / "set", path=".")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    data, warning = told(path)
    assert not warning
    assert data.pictures("val") == images(tmp_path / "set", "valid")


def test_a_root_in_the_folder_of_datasets_is_asked_for_last(tmp_path, monkeypatch):
    path = layout(tmp_path / "kept" / "x", path="x")
    monkeypatch.chdir(tmp_path)
    moved = path.rename(tmp_path / "x.yaml")
    with pytest.raises(DataError, match="correct 'path:', or remove it"):
        read_detection_data(moved)
    with pytest.warns(UserWarning, match=f"'path: x' is read as {tmp_path / 'kept' / 'x'}"):
        data = read_detection_data(moved, lambda: tmp_path / "kept")
    assert data.pictures("val") == images(tmp_path / "kept" / "x", "valid")


def test_a_root_of_another_machine_is_refused_with_advice_that_works(tmp_path):
    path = layout(tmp_path, path="/content/datasets/x")
    with pytest.raises(DataError, match="val is /content/.* correct 'path:', or remove it"):
        read_detection_data(path)
    read_detection_data(layout(tmp_path))


def test_linked_folders_have_their_labels_where_the_link_leads(tmp_path, agree):
    layout(tmp_path / "raw")
    (tmp_path / "set").mkdir()
    for split in ("train", "valid"):
        (tmp_path / "set" / split).symlink_to(tmp_path / "raw" / split)
    path = write(tmp_path / "set" / "data.yaml", **SPLITS, names=["a", "b"])
    data = read_detection_data(path)
    data.check("train", "val")
    agree(path, data)


def test_links_inside_are_followed_and_hidden_files_are_not_read(tmp_path, agree):
    path = layout(tmp_path)
    write_picture(tmp_path / "more" / "c.png", 7)
    (tmp_path / "train" / "images" / "more").symlink_to(tmp_path / "more")
    (tmp_path / "train" / "images" / "._0.png").write_bytes(b"of another system")
    data = read_detection_data(path)
    assert [p.name for p in data.pictures("train")] == ["0.png", "1.png", "c.png"]
    agree(path, data)


def test_images_of_endings_that_ultralytics_leaves_out_are_told(tmp_path, agree):
    path = layout(tmp_path)
    for name in ("a.gif", "b.GIF", "c.ppm", "notes.txt", "masks.json"):
        (tmp_path / "train" / "images" / name).write_bytes(b"")
    data, warning = told(path)
    place = tmp_path / "train" / "images"
    assert warning == f"{path}: images in {place} that Ultralytics leaves out (.gif, .ppm): 3"
    assert len(data.pictures("train")) == 2
    agree(path, data)


def test_the_only_yaml_of_a_folder_is_read(tmp_path):
    path = layout(tmp_path)
    assert read_detection_data(tmp_path).yaml == path
    write(tmp_path / "other.yml", names=[])
    with pytest.raises(DataError, match=r"2 YAML files \(data.yaml, other.yml\): give the path of"):
        read_detection_data(tmp_path)


# Splits that nobody asks for ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("test/images", r"test is .*/test/images, which is no folder"),
        ("train/empty", "split 'test' is empty"),
        ("train/images", "0.png is in 'train' and in 'test'"),
        (5, "test is 5: give a folder"),
    ],
    ids=["missing", "empty", "shared", "a number"],
)
def test_a_split_that_is_not_there_is_refused_once_it_is_asked_for(tmp_path, test, message):
    (tmp_path / "train" / "empty").mkdir(parents=True)
    data, warning = told(layout(tmp_path, test=test))
    assert not warning
    data.check("train", "val")
    with pytest.raises(DataError, match=message):
        data.pictures("test")


def test_what_is_scored_may_be_the_test_as_well(tmp_path):
    data = read_detection_data(layout(tmp_path, test="valid/images"))
    assert data.pictures("test") == data.pictures("val")


def test_train_is_needed_unless_there_are_calibration_images(tmp_path):
    path = layout(tmp_path, train="gone")
    with pytest.raises(DataError, match="train is .*gone, which is no folder"):
        read_detection_data(path)
    data = read_detection_data(layout(tmp_path, train="gone", calibration="train/images"))
    assert data.calibration(2) == images(tmp_path, "train")
    with pytest.raises(DataError, match="train is .*gone"):
        data.pictures("train")


def test_calibration_images_that_are_gone_are_not_replaced_by_others(tmp_path):
    data = read_detection_data(layout(tmp_path, calibration="gone"))
    with pytest.raises(DataError, match="calibration is .*gone, which is no folder"):
        data.calibration(2)


# Lists --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["./", "", "whole"])
def test_entries_of_a_list_start_at_the_list(tmp_path, monkeypatch, agree, start):
    path = layout(tmp_path, train="train.txt")
    base = f"{tmp_path}/" if start == "whole" else start
    lines = "".join(f"{base}train/images/{i}.png\n" for i in range(2))
    (tmp_path / "train.txt").write_text("\ufeff" + lines, encoding="utf-8")
    data, warning = told(path)
    assert not warning
    assert data.pictures("train") == images(tmp_path, "train")
    if start:
        agree(path, data)


def test_entries_may_start_at_the_working_folder_which_is_told(tmp_path, monkeypatch, agree):
    path = layout(tmp_path / "set", train="lists/train.txt")
    (tmp_path / "set" / "lists").mkdir()
    (tmp_path / "set" / "lists" / "train.txt").write_text("set/train/images/0.png\n")
    monkeypatch.chdir(tmp_path)
    data, warning = told(path)
    assert f"train.txt read as starting at {tmp_path}: 1" in warning
    assert data.pictures("train") == images(tmp_path / "set", "train")[:1]
    agree(path, data)


def test_lines_that_name_no_image_are_told(tmp_path, agree):
    path = layout(tmp_path, train="train.txt")
    (tmp_path / "train.txt").write_text("# mine\n./train/images/0.png\nnotes.md\n")
    data, warning = told(path)
    assert "train.txt that name no image, left out: 2 (the first is '# mine')" in warning
    assert data.pictures("train") == images(tmp_path, "train")[:1]
    agree(path, data)


def test_a_listed_image_that_is_gone_is_named(tmp_path):
    path = layout(tmp_path, train="train.txt")
    (tmp_path / "train.txt").write_text("./train/images/0.png\n./train/images/7.png\n")
    data = read_detection_data(path)
    with pytest.raises(DataError, match=r"7\.png cannot be read: No such file"):
        data.check("train")


# Bad content --------------------------------------------------------------------------------------

BAD = {
    "split-is-a-number": ({"train": 5}, "train is 5: give a folder or a .txt list"),
    "split-is-a-mapping": ({"val": {"a": "b"}}, "val is {'a': 'b'}: give a folder"),
    "list-of-numbers": ({"val": ["valid/images", 3]}, "val is 3: give a folder"),
    "split-is-an-image": ({"val": "valid/images/0.png"}, "0.png, which is no folder and no .txt"),
    "list-is-binary": (
        {"val": "binary.txt"},
        "is no list of images .* no UTF-8 text .*one path a line",
    ),
    "path-is-a-list": ({"path": ["a"]}, r"path is \['a'\]: give a folder"),
    "count-is-a-word": ({"nc": "many"}, "nc is 'many': give the number of classes, or no 'nc'"),
    "count-is-broken": ({"nc": 1.5}, "nc is 1.5: give the number"),
    "count-differs-as-text": ({"nc": "3"}, "2 names, but nc: 3"),
    "grey": ({"channels": 1}, "channels is 1, but images are read in colour"),
    "keypoints-are-a-word": (
        {"kpt_shape": "17"},
        r"kpt_shape is '17': give two numbers, \[17, 3\]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_content_that_cannot_be_is_refused(tmp_path, name):
    content, words = BAD[name]
    path = layout(tmp_path, **content)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=words):
        read_detection_data(path)


def test_keypoints_of_poses_are_left_out(tmp_path):
    path = layout(tmp_path, kpt_shape=[2, 3])
    for picture in images(tmp_path, "valid"):
        write_label(picture, "1 0.5 0.5 0.25 0.5 0.1 0.2 2 0.3 0.4 1\n")
    data = read_detection_data(path)
    assert data.keypoints == 6
    (report,) = data.check("val")
    assert (report.boxes, report.polygons) == (2, 0)
