from __future__ import annotations

import math

import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import compare_layers, float_activations, sqnr_db
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import Observation, calibrate
from tests.unit.graph.networks import NETWORKS, ZOO, observed

W4A4 = Recipe(Scheme(4, granularity="per_channel"), Scheme(4))


def batch(kept: Observation, n: int = 6) -> torch.Tensor:
    return torch.randn(n, *kept.captured.input_shape)


#: One of each kind; the others have the same kinds of sites.
CORE = {*ZOO, "ten-lines", "concat", "residual", "leaky"}
_OTHER = pytest.mark.slow(reason="networks whose kinds of sites others have")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in CORE else _OTHER) for n in [*ZOO, *NETWORKS]],
)
def test_every_activation_site_in_order(name):
    kept = observed(name)
    sites = [s.name for s in kept.placement.sites.values() if s.role != "weight"]
    x = batch(kept)
    activations = float_activations(kept.captured, kept.placement, x)
    compared = compare_layers(activations, kept.simulate(Recipe()))
    assert [layer.layer for layer in compared.layers] == sites == list(activations.values)
    with torch.no_grad():
        assert torch.equal(activations.logits, kept.captured.module(x))
        assert torch.equal(compared.logits, kept.simulate(Recipe())(x))
    assert not any(math.isnan(layer.sqnr_db) for layer in compared.layers)


def test_sqnr_is_that_of_the_two_tensors():
    kept = observed("resnet8")
    sim, x = kept.simulate(W4A4), batch(kept)
    seen: dict[str, torch.Tensor] = {}
    for name, quantizer in sim.quantizers.items():
        quantizer.register_forward_hook(lambda _, __, y, name=name: seen.update({name: y}))
    activations = float_activations(kept.captured, kept.placement, x)
    compared = compare_layers(activations, sim)
    for layer in compared.layers:
        exact = sqnr_db(activations.values[layer.layer], seen[layer.layer])
        assert layer.sqnr_db == pytest.approx(exact, abs=1e-3)
    assert compared.logits_sqnr_db == sqnr_db(activations.logits, compared.logits)
    assert compared.worst.sqnr_db == min(layer.sqnr_db for layer in compared.layers)


def test_more_bits_raise_every_layer():
    kept = observed("resnet8")
    activations = float_activations(kept.captured, kept.placement, batch(kept))
    few, many = (compare_layers(activations, kept.simulate(r)) for r in (W4A4, Recipe()))
    for a, b in zip(few.layers, many.layers, strict=True):
        assert a.layer == b.layer
        assert b.sqnr_db > a.sqnr_db or a.layer == "input"


def test_the_model_is_left_without_hooks():
    kept = observed("ten-lines")
    sim = kept.simulate(Recipe())
    compare_layers(float_activations(kept.captured, kept.placement, batch(kept)), sim)
    assert not any(q._forward_hooks for q in sim.quantizers.values())


def test_memory_is_stated():
    kept = observed("ten-lines")
    activations = float_activations(kept.captured, kept.placement, batch(kept, 4))
    floats = sum(value[0].numel() for value in activations.values.values())
    assert activations.nbytes == 4 * 4 * (floats + 3 * 8 * 8 + 10)


def test_activations_of_another_model_are_refused():
    kept, other = observed("ten-lines"), observed("conv-twice")
    activations = float_activations(kept.captured, kept.placement, batch(kept))
    with pytest.raises(InvalidInputError, match="another model"):
        compare_layers(activations, other.simulate(Recipe()))


@pytest.mark.parametrize(
    "x", [torch.full((2, 3, 8, 8), math.nan), torch.zeros(0, 3, 8, 8), torch.zeros(2, 3, 9, 8)]
)
def test_unsound_batches_are_refused(x):
    kept = observed("ten-lines")
    with pytest.raises(InvalidInputError):
        float_activations(kept.captured, kept.placement, x)


def test_sites_of_named_inputs_are_compared():
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 3)

        def forward(self, x: torch.Tensor, rate: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"y": self.layer(x) * rate}

    x = {"x": torch.randn(6, 4), "rate": torch.tensor(2.0)}
    sim = calibrate(Two(), [x])
    found = compare_layers(float_activations(sim.captured, sim.placement, x), sim)
    assert found.layers[0].layer == "x"
    assert found.logits_sqnr_db > 20
