"""Photographs to network input, against the same steps written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from qutils import zoo
from qutils.errors import InvalidInputError
from qutils.zoo import Preprocessing
from qutils.zoo import preprocessing as resizing


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    bands = {"L": 1, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, bands), dtype=np.uint8)
    return Image.fromarray(pixels.squeeze(), mode=None if bands < 4 else mode)


def test_centre_of_a_picture_that_needs_no_resizing() -> None:
    image = picture(300, 256)
    ours = Preprocessing(224, 256).crop(image)
    expected = np.asarray(image)[16:240, 38:262].transpose(2, 0, 1)
    np.testing.assert_array_equal(ours.numpy(), expected)


@pytest.mark.parametrize("size", [(500, 333), (333, 500), (40, 90), (224, 224)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
def test_any_size_and_mode_gives_the_shape(size: tuple[int, int], mode: str) -> None:
    for preprocessing in (Preprocessing(), Preprocessing(32, mean=(0.5,), std=(0.5,))):
        pixels = preprocessing.crop(picture(*size, mode))
        assert pixels.shape == preprocessing.shape
        assert pixels.dtype == torch.uint8


def test_short_side_is_resized_and_the_aspect_kept() -> None:
    image = picture(600, 400)
    resized = image.resize((384, 256), Image.Resampling.BICUBIC).crop((80, 16, 304, 240))
    expected = np.asarray(resized).transpose(2, 0, 1)
    np.testing.assert_array_equal(Preprocessing(224, 256).crop(image).numpy(), expected)


@pytest.mark.parametrize("size", [(500, 333), (33, 400), (300, 300), (7, 90)])
@pytest.mark.parametrize("bands", [1, 3])
def test_making_the_centre_alone_gives_the_same_pixels(monkeypatch, size, bands) -> None:
    preprocessing = Preprocessing((24, 32), 40, mean=(0.5,) * bands, std=(0.5,) * bands)
    image = picture(3, 3).resize(size)  # smooth: overshoots are cut off in another order
    whole = preprocessing.crop(image)
    monkeypatch.setattr(resizing, "MOST_RESIZED", 0)
    alone = preprocessing.crop(image)
    assert (whole.int() - alone.int()).abs().max() <= 1


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000)], ids=["wide", "tall"])
def test_a_narrow_image_is_resized_within_its_bound(monkeypatch, size) -> None:
    made = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda one, to, *a, **k: made.append(to) or resize(one, to, *a, **k)
    )
    pixels = Preprocessing().crop(Image.new("RGB", size, (1, 2, 3)))
    assert made == [(224, 224)]
    assert pixels.flatten(1).unique(dim=1).tolist() == [[1], [2], [3]]


def test_published_normalization_is_exact() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
    ours = zoo.PRETRAINED["efficientnet_lite0"].preprocessing.prepare(pixels)
    assert torch.equal(ours, (pixels.float() - 127) / 128)


def test_imagenet_normalization_is_the_usual_one() -> None:
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    mean, std = (torch.tensor(v)[:, None, None] for v in (zoo.IMAGENET_MEAN, zoo.IMAGENET_STD))
    torch.testing.assert_close(Preprocessing().prepare(pixels), (pixels / 255 - mean) / std)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 0}, "hold no pixels"),
        ({"size": 224, "resize": 200}, "does not fit"),
        ({"size": (224, 300), "resize": 256}, "does not fit"),
        ({"mean": (0.5,)}, "1 means and 3"),
        ({"mean": (0.5, 0.5), "std": (1.0, 1.0)}, "three of each"),
        ({"mean": (127.0,) * 3, "std": (128.0,) * 3}, "divide figures for 0..255 by 255"),
        ({"std": (0.0, 1.0, 1.0)}, "not those of pixels"),
        ({"std": (float("nan"), 1.0, 1.0)}, "not those of pixels"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Preprocessing(**given)  # type: ignore[arg-type]
