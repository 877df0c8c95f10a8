from __future__ import annotations

from dataclasses import replace

import pytest

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph import TARGETS, target
from qutils.schemes import Recipe, Scheme

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


def test_unknown_target_suggests_the_closest():
    with pytest.raises(InvalidInputError, match=r"'onnxruntim'.*did you mean 'onnxruntime'\?"):
        target("onnxruntim")
