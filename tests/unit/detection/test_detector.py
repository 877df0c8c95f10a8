"""Detectors: the decoding against its formula in plain NumPy, the wiring against torch by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qutils.detection.detector import Decode, Detector, Layer
from tests.unit.detection.tiny import CLASSES, pictures, tiny_detector


def decoded(boxes, scores, size, strides, bins, normalized) -> np.ndarray:
    """Place by place, row by row: a box from its four distances, then each probability."""
    height, width = size
    columns = []
    for box, score, stride in zip(boxes, scores, strides, strict=True):
        for y in range(height // stride):
            for x in range(width // stride):
                z = box[:, y, x].reshape(4, bins)
                left, top, right, bottom = (
                    [mean_of(row) for row in z] if bins > 1 else [row[0] for row in z]
                )
                middle = (x + 0.5, y + 0.5)
                x0, y0 = stride * (middle[0] - left), stride * (middle[1] - top)
                x1, y1 = stride * (middle[0] + right), stride * (middle[1] + bottom)
                parts = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
                if normalized:
                    parts = [p / side for p, side in zip(parts, (width, height) * 2, strict=True)]
                columns.append([*parts, *(1 / (1 + np.exp(-score[:, y, x])))])
    return np.array(columns).T


def mean_of(z) -> float:
    weights = np.exp(z - z.max())
    return float((weights / weights.sum() * np.arange(len(z))).sum())


@pytest.mark.parametrize("normalized", [False, True], ids=["pixels", "shares"])
@pytest.mark.parametrize("bins", [1, 16])
@pytest.mark.parametrize("size", [(32, 32), (16, 48)], ids=["square", "wide"])
def test_decoding_is_its_formula(size, bins, normalized):
    strides, classes = (4, 8, 16), 5
    generator = torch.Generator().manual_seed(0)
    shapes = [(size[0] // s, size[1] // s) for s in strides]
    boxes = [torch.randn(2, 4 * bins, *shape, generator=generator) * 3 for shape in shapes]
    scores = [torch.randn(2, classes, *shape, generator=generator) * 4 for shape in shapes]
    found = Decode(size, strides, bins, normalized)(boxes, scores)
    for i in range(2):
        expected = decoded(
            [b[i].double().numpy() for b in boxes], [s[i].double().numpy() for s in scores],
            size, strides, bins, normalized,
        )  # fmt: skip
        np.testing.assert_allclose(found[i].numpy(), expected, rtol=1e-5, atol=1e-4)


def test_a_sure_distance_puts_a_box_where_it_says():
    """Distances of 1, 2, 3, 0 strides around the middle of the place in column 2, row 1."""
    z = torch.full((1, 4, 8, 4, 4), -50.0)
    for side, distance in enumerate((1, 2, 3, 0)):
        z[0, side, distance] = 50.0
    scores = torch.zeros(1, 1, 4, 4)
    found = Decode((32, 32), (8,), 8)([z.flatten(1, 2)], [scores])[0, :, 1 * 4 + 2]
    x0, y0, x1, y1 = 20 - 8, 12 - 16, 20 + 24, 12 + 0
    expected = torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 0.5])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("size", [(32, 32), (16, 40), (64, 8)], ids=["square", "wide", "tall"])
@pytest.mark.parametrize("bins", [1, 4])
def test_a_detector_maps_pictures_to_boxes(size, bins):
    places = sum((size[0] // s) * (size[1] // s) for s in (4, 8))
    detector = tiny_detector(size, bins)
    found = detector(pictures(3, size))
    assert found.shape == (3, 4 + CLASSES, places)
    assert ((found[:, 4:] > 0) & (found[:, 4:] < 1)).all()


@torch.no_grad()
def test_layers_read_the_results_they_name():
    detector, x = tiny_detector(), pictures(2)
    l0, l1, up, _, l4, l5 = detector.layers
    near = l0(x)
    joined = torch.cat([up(l1(near)), near], 1)
    features = [l4(joined), l5(l4(joined))]
    boxes = [branch(f) for branch, f in zip(detector.box, features, strict=True)]
    scores = [branch(f) for branch, f in zip(detector.cls, features, strict=True)]
    torch.testing.assert_close(detector(x), detector.decode(boxes, scores))


@torch.no_grad()
def test_normalized_boxes_are_shares_of_width_and_height():
    size, x = (16, 40), pictures(2, (16, 40))
    pixels, shares = tiny_detector(size)(x), tiny_detector(size, normalized=True)(x)
    unit = torch.tensor([40.0, 16, 40, 16])[:, None]
    torch.testing.assert_close(shares[:, :4] * unit, pixels[:, :4])
    torch.testing.assert_close(shares[:, 4:], pixels[:, 4:])


def test_a_detector_takes_copies_of_what_it_is_made_of():
    module = torch.nn.Conv2d(3, 8, 4, 4)
    head = [torch.nn.Conv2d(8, n, 1) for n in (4, 2)]
    detector = Detector([Layer(module, (-1,))], (0,), head[:1], head[1:], (4,), 1, (8, 8))
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.zero_()
    assert module.weight.abs().sum() > 0
    assert head[0].weight.abs().sum() > 0
