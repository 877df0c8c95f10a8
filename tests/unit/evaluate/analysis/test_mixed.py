"""Mixed precision: each layer has the scheme it was given, and the computation follows."""

import pytest
import torch
from torch import nn

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import layers_of, mixed
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import Observation, observe

LOW = Recipe(Scheme(3, granularity="per_channel"), Scheme(4))


@pytest.fixture(scope="module")
def observation() -> Observation:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 3)
    )
    return observe(net.eval(), torch.randn(16, 1, 6, 6))


def test_only_the_named_layers_follow_the_other_recipe(observation):
    sim = mixed(observation, LOW, ["2"], Recipe())
    bits = {name: q.scheme.bits for name, q in sim.quantizers.items()}
    assert bits == {"input": 8, "0.weight": 3, "0": 4, "2.weight": 8, "2": 8, "4.weight": 3}


def test_no_layer_and_every_layer_are_the_two_recipes(observation):
    x = torch.randn(4, 1, 6, 6)
    layers = list(layers_of(observation.simulate(LOW)))
    assert torch.equal(mixed(observation, LOW, [], Recipe())(x), observation.simulate(LOW)(x))
    assert torch.equal(
        mixed(observation, LOW, layers, Recipe())(x), observation.simulate(Recipe())(x)
    )


def test_an_unknown_layer_is_named(observation):
    with pytest.raises(InvalidInputError, match="unknown layer 'stem'"):
        mixed(observation, LOW, ["stem"], Recipe())
