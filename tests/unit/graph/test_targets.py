from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph import TARGETS, target
from qutils.graph.targets import settled
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import Observation, observe
from qutils.quantize.simulate import FakeQuantizeBias

ORT = TARGETS["onnxruntime"]
WEIGHTS = Scheme(granularity="per_channel")


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(weights=Scheme()),
        Recipe(weights=Scheme(granularity="per_channel", observer="mse")),
        Recipe(activations=Scheme(signed=True), boundary=Scheme(signed=True)),
        Recipe(activations=Scheme(observer="entropy")),
    ],
    ids=["default", "per-tensor", "mse", "signed", "entropy"],
)
def test_settings_with_kernels(recipe):
    ORT.require_kernels(recipe)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(weights=replace(WEIGHTS, bits=4)), "4-bit weights"),
        (Recipe(activations=Scheme(bits=7)), "7-bit activations"),
        (Recipe(boundary=Scheme(bits=6)), "6-bit boundary"),
        (
            Recipe(weights=replace(WEIGHTS, bits=2), activations=Scheme(bits=3)),
            "2-bit weights and 3-bit activations",
        ),
        (Recipe(weights=Scheme(granularity="per_group", group_size=4)), "per_group weights"),
        (Recipe(weights=replace(WEIGHTS, symmetric=False)), "affine weights"),
        (Recipe(activations=Scheme(symmetric=True)), "symmetric activations"),
        (Recipe(boundary=Scheme(symmetric=True)), "symmetric boundary"),
        (Recipe(boundary=Scheme(signed=True)), "signed beside unsigned activations"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_settings_without_kernels_are_named(recipe, message):
    with pytest.raises(UnsupportedError, match=f"onnxruntime has no integer kernel for {message}"):
        ORT.require_kernels(recipe)


def test_a_target_may_have_kernels_for_symmetric_activations():
    symmetric = Scheme(signed=True, symmetric=True)
    recipe = Recipe(activations=symmetric, boundary=symmetric)
    replace(ORT, symmetric_activations=True).require_kernels(recipe)


@pytest.mark.parametrize(
    "activations",
    [Scheme(observer="mse"), Scheme(signed=True), Scheme(symmetric=True), Scheme(4)],
    ids=["unset", "signed", "symmetric", "4-bit"],
)
def test_a_target_of_one_form_gives_activations_their_sign_and_symmetry(activations):
    given = Recipe(Scheme(8, granularity="per_channel"), activations)
    recipe = TARGETS["tensorrt"].adapt(given)
    for scheme in (recipe.activations, recipe.boundary):
        assert (scheme.signed, scheme.symmetric) == (True, True)
        assert scheme.qmin == -scheme.qmax - 1
    assert recipe.activations.bits == activations.bits
    assert recipe.activations.observer == activations.observer
    assert recipe.weights == given.weights
    assert ORT.adapt(given) == given


def test_sites_of_such_a_target_are_int8_around_0():
    sim = observed_for("tensorrt").simulate(Recipe())
    assert sim.recipe == settled(TARGETS["tensorrt"].adapt(Recipe()), "tensorrt")
    for quantizer in sim.quantizers.values():
        assert (quantizer.scheme.qmin, quantizer.scheme.qmax) in ((-128, 127), (-127, 127))
        assert not quantizer.zero_point.any()


def test_float_biases_are_not_quantized():
    kept, other = observed_for("tensorrt"), observed_for("onnxruntime")
    assert other.placement.biases
    assert kept.placement.biases == ()
    sim = kept.simulate(Recipe())
    assert not any(isinstance(m, FakeQuantizeBias) for m in sim.graph_module.modules())


@cache
def observed_for(name: str) -> Observation:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU6())
    return observe(net, torch.randn(8, 1, 8, 8), name)


def test_unknown_target_suggests_the_closest():
    with pytest.raises(InvalidInputError, match=r"'onnxruntim'.*did you mean 'onnxruntime'\?"):
        target("onnxruntim")
