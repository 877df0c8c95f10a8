from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from qutils import zoo
from qutils.errors import InvalidInputError, UnsupportedError
from qutils.evaluate.analysis import saturation, sqnr_db
from qutils.integer import SATURATING, IntegerReference
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate, observe
from tests.unit.graph.networks import NETWORKS, observed


@pytest.fixture(scope="module")
def trained():
    data = zoo.dataset("fashion_mnist")
    model, x = zoo.load("mobilenetv2"), data.test.prepare(data.test.images[:200])
    seen = observe(model, data.calibration.prepare(data.calibration.images[:48]))
    return model, seen, x, data.test.labels[:200]


@pytest.mark.slow(reason="scores a trained network six times")
def test_both_paths_and_both_widths(trained):
    model, seen, x, y = trained
    found = saturation(seen, Recipe(), x, y)
    assert [(o.weight_bits, o.vnni, o.safe) for o in found.outcomes] == [
        *((8, True, False), (8, False, False), (7, True, False), (7, False, False)),
        *((8, True, True), (8, False, True)),
    ]
    eight, saturated, seven, same, safe, also_same = found.outcomes
    assert replace(also_same, vnni=True) == safe
    assert 0 < found.safe_price_db < found.price_db
    assert saturated.sqnr_db < eight.sqnr_db - 10
    assert saturated.hits < eight.hits
    assert replace(same, vnni=True) == seven
    assert 3 < found.price_db < 8 < found.cost_db  # 6 dB is one bit, where weights are the error
    assert (found.n, found.label) == (200, "per_channel, minmax")
    with torch.no_grad():
        assert found.float_hits == int((model(x).argmax(1) == y).sum())


def test_an_outcome_is_that_of_the_integer_reference(trained):
    model, seen, x, y = trained
    outcome = saturation(seen, Recipe(), x[:40], y[:40]).outcome(8, vnni=False)
    logits = IntegerReference(seen.simulate(Recipe()), SATURATING)(x[:40])
    with torch.no_grad():
        assert outcome.sqnr_db == pytest.approx(sqnr_db(model(x[:40]), logits), abs=1e-3)
    assert outcome.top1 == 100 * (logits.argmax(1) == y[:40]).float().mean()


def test_the_observation_is_as_good_as_new_calibration(trained):
    """Nothing of it is changed on the way."""
    model, seen, x, y = trained
    saturation(seen, Recipe(), x[:8], y[:8])
    data = zoo.dataset("fashion_mnist")
    again = calibrate(model, data.calibration.prepare(data.calibration.images[:48]))
    with torch.no_grad():
        assert torch.equal(seen.simulate(Recipe())(x[:8]), again(x[:8]))


@pytest.mark.parametrize(
    ("recipe", "pictures", "labels", "error", "message"),
    [
        (Recipe(Scheme(7)), 4, 4, InvalidInputError, "got 7 bits"),
        (Recipe(Scheme(symmetric=False)), 4, 4, InvalidInputError, "8-bit signed symmetric"),
        (Recipe(), 0, 0, InvalidInputError, "0 pictures"),
        (Recipe(), 4, 3, InvalidInputError, r"labels of shape \[3\]"),
        (
            *(Recipe(Scheme(granularity="per_group", group_size=3)), 4, 4),
            *(UnsupportedError, "per_group"),
        ),
    ],
    ids=["bits", "affine", "none", "labels", "per-group"],
)
def test_bad_input_is_refused(recipe, pictures, labels, error, message):
    x = NETWORKS["linear-only"].inputs()[:pictures]
    with pytest.raises(error, match=message):
        saturation(observed("linear-only"), recipe, x, torch.zeros(labels, dtype=torch.long))
