from __future__ import annotations

import numpy as np
import pytest
import torch

from qutils.evaluate.analysis import sqnr_db
from qutils.lab.explorers.start import BITS, LAYER, PICTURE, StartExplorer, recipe_of
from qutils.lab.explorers.subject import zoo_subject
from qutils.numerics import affine

N = 100


@pytest.fixture(scope="module")
def start() -> StartExplorer:
    return StartExplorer(zoo_subject("resnet8", N))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_numbers_are_the_librarys(start, bits):
    view = start.view(bits=bits)
    sim = start.subject.observation.simulate(recipe_of(bits))
    with torch.no_grad():
        right = (sim(start.subject.test.x).argmax(1) == start.subject.test.labels).sum()
    assert view.numbers["top1"] == pytest.approx(100 * int(right) / N, abs=1e-9)
    weight = start.subject.observation.weight(start.subject.sites[f"{LAYER}.weight"])
    q = sim.quantizers[f"{LAYER}.weight"].qparams()
    assert view.numbers["sqnr_db"] == sqnr_db(weight, affine.fake_quantize(weight, q))
    assert view.numbers["levels"] == 2**bits - 1


@pytest.mark.parametrize("bits", BITS)
def test_filters_and_maps_hold_no_more_values_than_the_bits_allow(start, bits):
    data = start.view(bits=bits).data
    for few in data.few_filters:
        assert len(np.unique(few)) <= 2**bits - 1
    assert len(np.unique(data.few_maps)) <= 2**bits
    assert data.few_filters.shape == data.filters.shape
    assert data.few_maps.shape == data.maps.shape
    assert f"what {len(data.maps)} of them see" in start.view(bits=bits).alt


def test_maps_are_what_the_simulated_network_computes(start):
    sim = start.subject.observation.simulate(recipe_of(3))
    seen = []
    sim.quantizers[LAYER].register_forward_hook(lambda _m, _a, y: seen.append(y))
    with torch.no_grad():
        sim(start.subject.test.x[PICTURE : PICTURE + 1])
    expected = seen[0][0][start.liveliest].double().numpy()
    assert np.array_equal(start.view(bits=3).data.few_maps, expected)


def test_the_note_tells_what_is_lost_and_what_cannot_be_told(start):
    assert "points of accuracy are gone" in start.view(bits=2).note
    assert "cannot be told from FP32's" in start.view(bits=8).note


def test_any_model_of_the_zoo_can_be_shown():
    other = StartExplorer(zoo_subject("mobilenetv2", 40))
    assert len(other.picture(other.view(bits=2))) > 1000
    assert other.view(bits=2).data.model == "MobileNetV2"
