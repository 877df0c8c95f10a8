"""Suppression against the definition, box by box, and against torchvision where that computes."""

from __future__ import annotations

import importlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from qutils import detection as d
from qutils.detection.nms import nms, surest


def overlap(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    both = width * height
    return both / (sum(areas) - both) if both else 0.0


def naive(boxes: Tensor, scores: Tensor, most: float) -> list[int]:
    """The surest first: one stays if it overlaps none that stays by more than ``most``."""
    rows, stays = boxes.double().tolist(), []
    for i in sorted(range(len(rows)), key=lambda i: -float(scores[i])):
        if all(overlap(rows[i], rows[j]) <= most for j in stays):
            stays.append(i)
    return stays


def random_boxes(seed: int, count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 20
    size = torch.rand(count, 2, generator=generator) * 15 + 0.5
    scores = torch.rand(count, generator=generator)
    return torch.cat([corner, corner + size], 1), scores


@given(st.integers(0, 10_000), st.integers(0, 40), st.sampled_from([0.13, 0.3, 0.45, 0.71]))
def test_random_boxes_as_the_definition_says(seed, count, most):
    boxes, scores = random_boxes(seed, count)
    found = nms(boxes, scores, most)
    assert found.dtype == torch.int64
    assert found.tolist() == naive(boxes, scores, most)


coordinates = st.integers(0, 8)


@given(st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), max_size=12))
def test_boxes_on_a_grid_with_equal_scores(rows):
    """Ties keep their order; boxes without area, which share nothing, all stay."""
    boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in rows]).float().view(-1, 4)
    scores = torch.ones(len(rows))
    assert nms(boxes, scores, 0.45).tolist() == naive(boxes, scores, 0.45)


def test_an_overlap_of_exactly_the_limit_stays():
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1]])  # overlap 1/2
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert nms(boxes, scores, 0.49).tolist() == [0]


def test_a_suppressed_box_suppresses_nothing():
    boxes = torch.tensor([[0.0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]])
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]


@pytest.mark.parametrize("count", [0, 1])
def test_few_boxes_stay_as_they_are(count):
    boxes, scores = random_boxes(0, count)
    assert nms(boxes, scores, 0.5).tolist() == list(range(count))


def test_as_torchvision_does():
    try:
        ops = importlib.import_module("torchvision.ops")
    except (ImportError, RuntimeError) as error:  # compiled for another build of torch
        pytest.skip(f"torchvision does not load here: {error}")
    computes = importlib.import_module("torchvision.extension")._has_ops
    if computes.__module__ != "torchvision.extension" or not computes():
        pytest.skip("torchvision has no compiled operators here: its nms is our own")
    for seed in range(20):
        boxes, scores = random_boxes(seed, 60)
        assert torch.equal(nms(boxes, scores, 0.45), ops.nms(boxes, scores, 0.45))


@torch.no_grad()
def test_the_surest_are_what_an_end_to_end_network_finds(untrained):
    weights = d.read_weights(untrained("yolo26n"))
    head = weights.network.model[-1]
    head.end2end = True
    for branch in (*head.one2one_cv2, *head.one2one_cv3):
        branch[-1].bias += torch.randn(branch[-1].bias.shape)
    x = torch.rand(2, 3, 64, 64)
    expected = weights.network(x)[0]
    found = surest(d.as_detector(weights, 64, "one2one")(x), expected.shape[1])
    assert found.shape == expected.shape
    torch.testing.assert_close(found[..., 4], expected[..., 4], rtol=0, atol=1e-4)  # in their order
    apart = (found[:, :, None] - expected[:, None]).abs().amax(-1)  # [N, K, K]: ties change places
    assert (apart.amin(2) < 1e-3).float().mean() > 0.9  # the last one may tie with one left out


def test_the_surest_pair_of_place_and_class_comes_first():
    x = torch.rand(1, 6, 5)
    place, kind = divmod(int(x[0, 4:].T.argmax()), 2)
    centre, size = x[0, :2, place], x[0, 2:4, place]
    first = surest(x, 3)[0, 0]
    torch.testing.assert_close(first[:4], torch.cat([centre - size / 2, centre + size / 2]))
    assert first[4:].tolist() == pytest.approx([float(x[0, 4 + kind, place]), kind])


def test_no_more_boxes_than_there_are():
    assert surest(torch.rand(2, 6, 5), 300).shape == (2, 10, 6)
