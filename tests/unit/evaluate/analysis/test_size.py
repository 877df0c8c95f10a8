from __future__ import annotations

import pytest

from qutils.backends.export import export
from qutils.evaluate import bench
from qutils.evaluate.analysis import estimated_size
from qutils.graph.capture import parameters_of
from qutils.numerics.schemes import MAX_BITS, MIN_BITS, Recipe, Scheme
from tests.unit.graph.networks import NETWORKS, observed

CHANNEL = "per_channel"


def test_by_hand():
    size = estimated_size(observed("ten-lines").simulate(Recipe(Scheme(3, granularity=CHANNEL))))
    weights = (8 * 3 * 9, 16 * 8 * 9, 10 * 256)
    assert size.weight_bytes == sum(-(-3 * count // 8) for count in weights)
    assert size.bias_bytes == 4 * (8 + 16 + 10)
    assert size.qparam_bytes == 4 * (8 + 16 + 10) + 3 * 5  # input and two activations, affine
    assert size.other_bytes == 0
    assert size.float_bytes == 4 * (sum(weights) + 8 + 16 + 10)
    assert size.total_bytes == size.weight_bytes + size.bias_bytes + size.qparam_bytes
    assert size.ratio == size.float_bytes / size.total_bytes


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])
def test_groups_cost_scales(symmetric):
    weights = Scheme(4, symmetric=symmetric, granularity="per_group", group_size=32)
    size = estimated_size(observed("linear-only").simulate(Recipe(weights)))
    assert size.weight_bytes == 9  # 18 values of 4 bits
    assert size.qparam_bytes == 3 * (4 if symmetric else 5) + 5  # one group a row: 6 values


@pytest.mark.parametrize("name", NETWORKS)
def test_fewer_bits_never_grow(name):
    kept = observed(name)
    sizes = [
        estimated_size(kept.simulate(Recipe(Scheme(bits, granularity=CHANNEL))))
        for bits in range(MIN_BITS, MAX_BITS + 1)
    ]
    totals = [size.total_bytes for size in sizes]
    assert totals == sorted(totals)
    stored = 4 * sum(t.numel() for t in parameters_of(kept.captured.module).values())
    assert sizes[0].float_bytes == stored


def test_at_8_bits_what_the_exported_file_holds(tmp_path):
    sim = observed("resnet8").simulate(Recipe())
    measured = bench.size_of(export(sim, tmp_path / "resnet8.onnx", target="onnxruntime"))
    estimated = estimated_size(sim)
    assert estimated.weight_bytes == measured.weight_bytes
    assert estimated.bias_bytes == measured.bias_bytes
