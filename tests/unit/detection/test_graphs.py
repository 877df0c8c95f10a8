"""A graph that was traced once gives what tracing anew gives, for every target."""

from __future__ import annotations

import pytest
import torch

from qutils import detection as d
from qutils.detection.graphs import decoded_as
from qutils.errors import InvalidInputError
from qutils.numerics.schemes import Recipe
from tests.unit.detection.tiny import observed, pictures, tiny_detector


@pytest.fixture(scope="module")
def graph():
    return d.trace_detector(tiny_detector())


@torch.no_grad()
@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "litert"])
def test_a_kept_graph_gives_the_same_ranges_and_predictions(graph, target):
    detector, x = tiny_detector(normalized=d.normalized(target)), pictures()
    anew = observed(target, d.normalized(target))
    kept = d.observe_detector(detector, x, target, graph=graph)
    assert kept.placement == anew.placement
    assert kept.pictures == anew.pictures == len(x)
    one, other = (seen.simulate(Recipe()) for seen in (kept, anew))
    assert set(one.quantizers) == set(other.quantizers)
    for name, quantizer in one.quantizers.items():
        assert torch.equal(quantizer.scale, other.quantizers[name].scale), name
    assert torch.equal(one(x), other(x))


@torch.no_grad()
def test_shares_leave_the_graph_in_pixels_as_it_is(graph):
    x = pictures(2)
    before = graph.module(x)
    shares = decoded_as(tiny_detector(normalized=True), graph)
    torch.testing.assert_close(shares.module(x)[:, :4] * 32, before[:, :4])
    assert torch.equal(graph.module(x), before)
    assert decoded_as(tiny_detector(), graph) is graph


def test_further_modules_may_stay_in_float(graph):
    kept = d.observe_detector(tiny_detector(), pictures(2), keep_float=["box.0.1"], graph=graph)
    names = [site.name for site in kept.placement.sites.values()]
    assert "box.0.1.weight" not in names
    assert "box.1.1.weight" in names


def other_head() -> d.Detector:
    detector = tiny_detector()
    with torch.no_grad():
        detector.box[1][1].weight += 1
    return detector


@pytest.mark.parametrize(
    "other",
    [other_head(), tiny_detector((64, 32)), tiny_detector(bins=8)],
    ids=["head", "size", "bins"],
)
def test_a_graph_of_another_network_is_refused(graph, other):
    with pytest.raises(InvalidInputError, match=r"got that of another network.*trace_detector"):
        d.observe_detector(other, pictures(2, other.size), graph=graph)


def test_no_pictures_are_refused(graph):
    with pytest.raises(InvalidInputError, match="expected calibration images, got none"):
        d.observe_detector(tiny_detector(), torch.empty(0, 3, 32, 32), graph=graph)
