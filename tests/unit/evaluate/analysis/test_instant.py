from __future__ import annotations

import pytest
import torch
from torch import nn

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import InstantModel, Ranges
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import Observation
from qutils.quantize.simulate import SimulatedModel
from tests.unit.graph.networks import ZOO, observed

#: Moves of the sliders, one after the other on the same model.
MOVES = {
    "W8A8": Recipe(),
    "W4A4 mse": Recipe(
        Scheme(4, granularity="per_channel", observer="mse"), Scheme(4, observer="mse")
    ),
    "per_tensor": Recipe(Scheme(6), Scheme(5, observer="percentile")),
    "per_group": Recipe(Scheme(3, granularity="per_group", group_size=8)),
    "affine weights": Recipe(Scheme(4, symmetric=False, granularity="per_channel")),
    "signed": Recipe(activations=Scheme(signed=True, symmetric=True, observer="entropy")),
    "W2": Recipe(Scheme(2, granularity="per_channel"), boundary=Scheme(4)),
    "W8A8 again": Recipe(),
}


def assert_same(found: SimulatedModel, expected: SimulatedModel, x: torch.Tensor) -> None:
    left, right = found.state_dict(), expected.state_dict()
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name
    for name, quantizer in expected.quantizers.items():
        mine = found.quantizers[name]
        assert (mine.scheme, mine.axis, mine.site) == (
            quantizer.scheme,
            quantizer.axis,
            quantizer.site,
        )
    assert found.recipe == expected.recipe
    assert found.training == expected.training
    with torch.no_grad():
        assert torch.equal(found(x), expected(x))


@pytest.mark.parametrize("name", [*ZOO, "many-things", "tied", "linear-no-bias"])
def test_bit_for_bit_what_the_observation_simulates(name):
    kept = observed(name)
    instant = InstantModel(kept)
    x = torch.randn(3, *kept.captured.input_shape)
    models = set()
    for recipe in MOVES.values():
        model = instant.simulate(recipe)
        assert_same(model, kept.simulate(recipe), x)
        models.add(id(model))
    assert len(models) == 1


def test_ranges_are_derived_once(monkeypatch):
    kept = observed("ten-lines")
    derived = []
    original = Observation.quantizer

    def counted(self: Observation, site: object, scheme: Scheme) -> nn.Module:
        derived.append((site, scheme))
        return original(self, site, scheme)  # type: ignore[arg-type]

    monkeypatch.setattr(Observation, "quantizer", counted)
    ranges = Ranges(kept)
    first, second = InstantModel(kept, ranges), InstantModel(kept, ranges)
    for model in (first, second, first):
        model.simulate(Recipe())
    sites = len(kept.placement.sites)
    assert len(derived) == sites
    first.simulate(Recipe(activations=Scheme(4)))  # weights and input keep theirs
    activations = sum(s.role == "activation" for s in kept.placement.sites.values())
    assert len(derived) == sites + activations


def test_raised_weight_scales_do_not_leak_into_what_is_kept():
    kept = observed("ten-lines")
    ranges = Ranges(kept)
    instant = InstantModel(kept, ranges)
    model = instant.simulate(Recipe())
    with torch.no_grad():
        for quantizer in model.quantizers.values():
            quantizer.scale.mul_(3)
    assert_same(instant.simulate(Recipe()), kept.simulate(Recipe()), torch.randn(2, 3, 8, 8))


def test_two_models_do_not_share_anything():
    kept = observed("ten-lines")
    ranges = Ranges(kept)
    first = InstantModel(kept, ranges).simulate(Recipe())
    before = {name: value.clone() for name, value in first.state_dict().items()}
    InstantModel(kept, ranges).simulate(Recipe(Scheme(2, granularity="per_channel")))
    assert all(torch.equal(value, before[name]) for name, value in first.state_dict().items())


def test_an_error_leaves_the_model_as_it_was(monkeypatch):
    kept = observed("ten-lines")
    instant = InstantModel(kept)
    instant.simulate(Recipe())

    def refuse(self: Observation, site: object, scheme: Scheme) -> nn.Module:
        raise InvalidInputError("no range")

    with monkeypatch.context() as patch, pytest.raises(InvalidInputError):
        patch.setattr(Observation, "quantizer", refuse)
        instant.simulate(Recipe(Scheme(3)))
    assert_same(instant.simulate(Recipe()), kept.simulate(Recipe()), torch.randn(2, 3, 8, 8))


def test_the_copy_is_independent():
    instant = InstantModel(observed("ten-lines"))
    mine = instant.simulate(Recipe()).copy()
    instant.simulate(Recipe(Scheme(2)))
    assert_same(mine, observed("ten-lines").simulate(Recipe()), torch.randn(2, 3, 8, 8))
