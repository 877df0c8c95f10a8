from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import PARTS, layers_of, sensitivity, sqnr_db
from qutils.graph.nodes import attribute
from qutils.numerics import affine
from qutils.numerics.schemes import Recipe, Scheme
from tests.unit.graph.networks import observed

W3A3 = Recipe(Scheme(3, granularity="per_channel"), Scheme(3))


@pytest.fixture(scope="module")
def kept():
    return observed("ten-lines")


@pytest.fixture(scope="module")
def sim(kept):
    return kept.simulate(W3A3)


@pytest.fixture(scope="module")
def x():
    return torch.randn(300, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_layers_and_their_parts(sim):
    assert layers_of(sim) == {
        "input": {"activation": "input"},
        "0": {"weights": "0.weight", "activation": "0"},
        "4": {"weights": "4.weight", "activation": "4"},
        "8": {"weights": "8.weight"},
    }


def test_one_weight_alone_is_the_float_model_with_that_weight_rounded(kept, sim, x):
    found = {(r.layer, r.part): r for r in sensitivity(sim, x, parts=PARTS)}
    module = kept.captured.module
    with torch.no_grad():
        before = module(x)
        for layer in ("0", "4", "8"):
            site = next(s for s in kept.placement.sites.values() if s.name == f"{layer}.weight")
            node = next(n for n in module.graph.nodes if n.name == site.node)
            weight = attribute(module, str(node.target))
            original = weight.clone()
            weight.copy_(affine.fake_quantize(weight, sim.quantizers[site.name].qparams()))
            after = module(x)
            weight.copy_(original)
            result = found[layer, "weights"]
            assert result.sqnr_db == pytest.approx(sqnr_db(before, after), abs=0.01)
            same = (before.argmax(1) == after.argmax(1)).float().mean().item()
            assert result.agreement == pytest.approx(100 * same, abs=0.4)


def test_parts(sim, x):
    results = sensitivity(sim, x, parts=PARTS)
    assert [(r.layer, r.part) for r in results] == [
        *(("input", part) for part in ("activation", "both")),
        *(("0", part) for part in PARTS),
        *(("4", part) for part in PARTS),
        *(("8", part) for part in ("weights", "both")),
    ]
    by = {(r.layer, r.part): r.sqnr_db for r in results}
    assert by["8", "both"] == by["8", "weights"]
    assert by["0", "both"] < max(by["0", "weights"], by["0", "activation"])
    assert all(math.isfinite(value) for value in by.values())


def test_accuracy_and_its_drop(sim, kept, x):
    with torch.no_grad():
        labels = kept.captured.module(x).argmax(1)
    labels[:30] = (labels[:30] + 1) % 10  # the float model scores 90 %
    for result in sensitivity(sim, x, labels):
        assert result.top1 + result.top1_drop == pytest.approx(90.0)
        assert result.n == 300
        assert abs(result.top1 - 90.0) <= 100 - result.agreement + 1e-9


def test_a_table(sim, x):
    table = pd.DataFrame(sensitivity(sim, x[:8]))
    assert list(table.columns) == [
        "layer", "part", "sqnr_db", "agreement", "top1", "top1_drop", "n",
    ]  # fmt: skip
    assert table["top1"].isna().all()


def test_the_simulated_model_stays_as_it_was(sim, x):
    with torch.no_grad():
        before = sim(x[:8])
    sensitivity(sim, x[:8])
    with torch.no_grad():
        assert torch.equal(sim(x[:8]), before)


@pytest.mark.parametrize(
    ("n", "labels", "parts"), [(0, None, ("both",)), (4, 3, ("both",)), (4, None, ("bias",))]
)
def test_impossible_requests(sim, x, n, labels, parts):
    y = None if labels is None else torch.zeros(labels, dtype=torch.long)
    with pytest.raises(InvalidInputError):
        sensitivity(sim, x[:n], y, parts)
