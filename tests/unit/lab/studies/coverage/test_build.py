from __future__ import annotations

import importlib.util

import pytest
import torch

from qutils.lab.studies.coverage.build import build, inputs
from qutils.lab.studies.coverage.idioms import IDIOMS


@pytest.mark.parametrize("name", IDIOMS)
def test_idioms_run_on_their_inputs(name: str) -> None:
    torch.manual_seed(0)
    model, x = build(f"idiom/{name}"), inputs(f"idiom/{name}", 2, 0)
    with torch.no_grad():
        logits = model(x) if isinstance(x, torch.Tensor) else model(**x)
    assert logits.shape == (2, 10)
    assert logits.std() > 1e-3


@pytest.mark.parametrize("name", ["timm/lcnet_050", "torchvision/squeezenet1_1"])
def test_architectures_of_libraries_run_on_their_inputs(name: str) -> None:
    library = name.split("/")[0]
    if (
        importlib.util.find_spec(library) is None
    ):  # importing timm first would fail beside CPU torch
        pytest.skip(f"{library} is not installed")
    with torch.no_grad():
        assert build(name)(inputs(name, 2, 0)).shape == (2, 1000)


def test_inputs_repeat_for_a_seed_and_differ_between_seeds() -> None:
    first, again, other = (inputs("idiom/tanh", 3, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
