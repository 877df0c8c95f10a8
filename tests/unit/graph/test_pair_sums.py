"""Weights that cannot overflow: the limit by exhaustive sums, scales by their definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import mixed
from qutils.evaluate.analysis.instant import InstantModel
from qutils.graph import TARGETS
from qutils.graph.pair_sums import (
    LIMIT,
    can_overflow,
    safe_scale,
    worst_pair,
)
from qutils.graph.targets import settled
from qutils.integer import IntegerReference
from qutils.numerics.affine import quantize
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate, observe
from qutils.quantize.checkpoint import load, save
from qutils.quantize.qat import finetune

CHANNELS = Scheme(signed=True, symmetric=True, granularity="per_channel")
TENSOR = Scheme(signed=True, symmetric=True)


def test_the_limit_is_what_16_bits_hold():
    assert 255 * LIMIT <= 32767 < 255 * (LIMIT + 1)
    assert -255 * LIMIT >= -32768 > -255 * (LIMIT + 1)


def test_neighbours_are_found_in_both_orders():
    w = torch.zeros(1, 3, 1, 2, dtype=torch.int32)
    w[0, 2, 0, 0], w[0, 0, 0, 1] = 100, 90  # the last channel of a place, the first of the next
    assert worst_pair(w).tolist() == [190]
    w[0, 1, 0, 1] = 80  # begun anew at the place, it is beside the first channel
    assert worst_pair(w).tolist() == [190]
    w[0, 2, 0, 0] = 0
    assert worst_pair(w).tolist() == [170]
    row = torch.zeros(1, 1, 2, 3, dtype=torch.int32)
    row[0, 0, 1, 0], row[0, 0, 1, 1] = 100, 90  # places 3 and 4: a pair of the row alone
    assert worst_pair(row).tolist() == [190]


@pytest.mark.parametrize(
    "shape", [(16, 8, 3, 3), (16, 3, 3, 3), (8, 37), (8, 5, 7), (4, 6, 2, 2, 2)]
)
def test_scales_are_as_small_as_they_can_be(shape):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    scale = w.abs().reshape(len(w), -1).amax(1) / 127
    wide = safe_scale(w, scale, CHANNELS)

    def worst(scale):
        around = scale.reshape(-1, *[1] * (w.ndim - 1))
        return worst_pair(torch.round(w / around).clamp(-127, 127))

    assert (worst(wide) <= LIMIT).all()
    assert (wide >= scale).all()
    grown = wide > scale
    assert grown.any()
    assert (worst(scale)[~grown] <= LIMIT).all()
    assert (worst(wide * 0.999)[grown] > LIMIT).all()
    assert (worst(wide * 1.1) <= LIMIT).all()  # a bias that needs a wider scale does no harm


def test_one_scale_for_all_filters_fits_the_worst():
    w = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    scale = safe_scale(w, torch.tensor(1 / 127), TENSOR)
    assert scale.shape == ()
    assert torch.round(w / scale).tolist() == [[64, 64], [64, 0]]


def test_clipped_weights_count_as_clipped():
    w, scale = torch.tensor([[4.0, 0.01]]), torch.tensor([1 / 127])
    assert torch.equal(safe_scale(w, scale, CHANNELS), scale)


@pytest.mark.parametrize(
    ("scheme", "can"),
    [
        (CHANNELS, True),
        (Scheme(7, signed=True, symmetric=True), False),
        (Scheme(8, signed=False, symmetric=False), False),
    ],
)
def test_few_bits_and_unsigned_weights_stay(scheme, can):
    assert can_overflow(scheme) is can
    w, scale = torch.ones(1, 4), torch.tensor([0.001])
    assert torch.equal(safe_scale(w, scale, scheme), scale) is not can


def test_auto_follows_the_target_and_a_choice_stays():
    chosen = {name: settled(Recipe(), name).saturation_safe for name in TARGETS}
    assert {name for name, safe in chosen.items() if safe} == {"openvino", "inductor"}
    for choice in (True, False):
        assert settled(Recipe(saturation_safe=choice), "openvino").saturation_safe is choice
    with pytest.raises(InvalidInputError, match="must be True, False or 'auto', got 'yes'"):
        Recipe(saturation_safe="yes")


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.abs() + 0.02)  # of one sign: pairs are large
    return net


X = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def worst_of(sim) -> dict[str, int]:
    weights = dict(sim.captured.module.named_parameters())
    sites = [s for s in sim.placement.sites.values() if s.role == "weight"]
    return {
        s.name: int(worst_pair(quantize(weights[s.name], sim.quantizers[s.name].qparams())).max())
        for s in sites
    }


@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_what_is_exported_computes_the_same_on_every_cpu(granularity):
    kept = observe(network(), X, "openvino")
    recipe = Recipe(Scheme(granularity=granularity))
    safe = kept.simulate(recipe)
    whole = kept.simulate(Recipe(recipe.weights, saturation_safe=False))
    assert (safe.recipe.saturation_safe, whole.recipe.saturation_safe) == (True, False)
    worst = worst_of(safe)
    assert worst.pop("2.weight") > LIMIT  # depthwise kernels add in 32 bits
    assert max(worst.values()) <= LIMIT < max(worst_of(whole).values())
    for sim, same in ((safe, True), (whole, False)):
        exact, pairs = (IntegerReference(sim, instructions=i)(X) for i in ("vnni", "avx2"))
        assert torch.equal(exact, pairs) is same


@pytest.mark.parametrize("name", ["openvino", "litert"])
def test_every_way_to_a_simulated_model_settles_it(name):
    """The lab's and that of mixed precision are those of ``simulate`` and follow the target."""
    kept = observe(network(), X, name)
    sim = kept.simulate(Recipe())
    for other in (InstantModel(kept).simulate(Recipe()), mixed(kept, Recipe(), ["0"], Recipe())):
        assert other.recipe == sim.recipe
        assert torch.equal(other(X), sim(X))


def test_a_checkpoint_keeps_the_choice(tmp_path):
    sim = calibrate(network(), X, target="openvino")
    found = load(save(sim, tmp_path / "net.safetensors"), network())
    assert found.recipe == sim.recipe
    assert found.recipe.saturation_safe is True
    assert torch.equal(found(X), sim(X))


def test_training_ends_safe():
    sim = calibrate(network(), X, Recipe(saturation_safe=True))
    batches = [(X, torch.arange(32) % 10)] * 4
    trained = finetune(sim, batches, epochs=1, learning_rate=0.05, progress=False)
    weights = dict(trained.graph_module.named_parameters())
    for name in ("0.weight", "6.weight"):
        integers = quantize(weights[name], trained.quantizers[name].qparams())
        assert int(worst_pair(integers).max()) <= LIMIT
