"""Predictions of a module and of a file, and pictures as detectors take them."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from PIL import Image

from qutils import detection as d
from qutils.backends.export import export
from qutils.backends.runtimes import load
from qutils.errors import DataError
from qutils.numerics.schemes import Recipe
from tests.unit.detection.tiny import observed, pictures, tiny_detector, write_picture

GREY = 114 / 255


def test_a_module_predicts_what_it_computes():
    detector, x = tiny_detector(), pictures(3)
    found = d.Prediction(detector)(x)
    assert not found.requires_grad
    torch.testing.assert_close(found, detector(x).detach())


def test_shares_become_pixels():
    size = (16, 40)
    x = pictures(3, size)
    shares = tiny_detector(size, normalized=True)
    before = shares(x).detach().clone()
    found = d.Prediction(shares, normalized=True)(x)
    torch.testing.assert_close(found, tiny_detector(size)(x).detach())
    torch.testing.assert_close(shares(x).detach(), before)


def test_what_computes_is_not_changed_in_place():
    kept = torch.rand(2, 6, 5)

    class Same(torch.nn.Module):
        def forward(self, x):
            return kept

    before = kept.clone()
    found = d.Prediction(Same(), normalized=True)(torch.zeros(2, 3, 8, 16))
    assert torch.equal(kept, before)
    torch.testing.assert_close(found[:, 0], 16 * before[:, 0])
    torch.testing.assert_close(found[:, 3], 8 * before[:, 3])
    torch.testing.assert_close(found[:, 4:], before[:, 4:])


def test_a_file_of_one_picture_is_called_once_for_each(tmp_path):
    pytest.importorskip("onnxruntime")
    sim = observed().simulate(Recipe())
    runtime = load(export(sim, tmp_path / "net.onnx"))
    x = pictures(5)
    together = d.Prediction(runtime)(x)
    calls = []

    class Fixed(type(runtime)):
        input_shape = (1, 3, 32, 32)

        def run(self, batch):
            calls.append(batch.shape)
            return runtime.run(batch)

    fixed = Fixed.__new__(Fixed)
    found = d.Prediction(fixed)(x)
    assert calls == [(1, 3, 32, 32)] * 5
    assert torch.equal(found, together)


# Pictures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [((60, 30), slice(8, 24), slice(0, 32)), ((8, 32), slice(0, 32), slice(12, 20))],
    ids=["wide", "tall"],
)
def test_pictures_are_letterboxed_in_grey(tmp_path, size, rows, columns):
    path = tmp_path / "picture.png"
    Image.new("RGB", size, (255, 0, 51)).save(path)
    (found,) = d.read_pictures([path], 32)
    assert found.shape == (3, 32, 32)
    inside = torch.tensor([1.0, 0.0, 0.2])[:, None, None]
    torch.testing.assert_close(found[:, rows, columns], inside.expand_as(found[:, rows, columns]))
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[rows, columns] = False
    assert outside.sum() in (512, 768)
    torch.testing.assert_close(found[:, outside], torch.full((3, int(outside.sum())), GREY))


def test_pictures_of_the_right_size_keep_their_pixels(tmp_path):
    path = write_picture(tmp_path / "a.png", 0, (32, 32))
    found = d.read_pictures([path], 32)[0]
    expected = np.asarray(Image.open(path), np.float32).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-7)


def test_pictures_of_several_sizes_and_modes_become_one_batch(tmp_path):
    paths = [write_picture(tmp_path / f"{i}.png", i, size) for i, size in
             enumerate([(100, 7), (5, 5), (1, 64)])]  # fmt: skip
    grey, palette = tmp_path / "grey.png", tmp_path / "palette.png"
    Image.new("L", (9, 9), 100).save(grey)
    Image.new("P", (9, 9)).save(palette)
    found = d.read_pictures([*paths, grey, palette], 32)
    assert found.shape == (5, 3, 32, 32)
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() <= 1
    torch.testing.assert_close(found[3], torch.full((3, 32, 32), 100 / 255))


@pytest.mark.parametrize("content", [None, b"", b"text"], ids=["missing", "empty", "text"])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, content):
    good, bad = write_picture(tmp_path / "good.png", 0), tmp_path / "bad.png"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(DataError, match="Remove or replace it") as error:
        d.read_pictures([good, bad], 32)
    assert str(bad) in str(error.value)


def test_a_torn_picture_is_named(tmp_path):
    path = write_picture(tmp_path / "a.png", 0, (64, 64))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"a\.png"):
        d.read_pictures([path], 32)


@pytest.mark.parametrize(
    "size", [(97, 61), (40, 200), (31, 31), (20, 64), (64, 64), (1, 3000), (60_000, 1)]
)
def test_pictures_are_those_that_the_scorer_sees(yolo, tmp_path, size):
    path = write_picture(tmp_path / "picture.png", 0, size)
    base = importlib.import_module("ultralytics.data.base").BaseDataset
    loader = base.__new__(base)
    loader.ims, loader.im_files, loader.npy_files = [None], [str(path)], [tmp_path / "none.npy"]
    loader.cv2_flag, loader.imgsz, loader.augment, loader.cache = 1, 64, False, None
    box = importlib.import_module("ultralytics.data.augment").LetterBox((64, 64), scaleup=False)
    theirs = box(image=loader.load_image(0)[0])[..., ::-1].astype(np.float32)
    ours = 255 * d.read_pictures([path], 64)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1.001)
