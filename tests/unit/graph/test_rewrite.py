from __future__ import annotations

import pytest
import torch

from qutils.graph import capture
from qutils.graph.nodes import op_name
from tests.unit.graph.networks import NETWORKS, Net, graph_of


def ops(name: str) -> list[str]:
    return [op_name(n) for n in graph_of(name).graph.nodes if n.op == "call_function"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean", ["conv2d", "relu", "adaptive_avg_pool2d", "flatten", "linear"]),
        ("mean-keepdim", ["conv2d", "relu", "adaptive_avg_pool2d", "conv2d"]),
        ("view-batch", ["conv2d", "relu", "flatten", "linear"]),
        ("view-minus-one", ["conv2d", "relu", "reshape", "linear"]),
        ("clamp-min", ["conv2d", "relu", "flatten", "linear"]),
        ("max-pool-relu", ["conv2d", "relu", "max_pool2d", "flatten", "linear"]),
        (
            "pool-then-relu6",
            [
                *("conv2d", "hardtanh", "max_pool2d"),
                *("conv2d", "relu", "max_pool2d", "flatten", "linear"),
            ],
        ),
        (
            "vgg",
            [
                *("conv2d", "relu", "max_pool2d", "conv2d", "relu", "max_pool2d"),
                *("max_pool2d", "flatten", "linear"),
            ],
        ),
        ("pool-in-parts", ["conv2d", "relu", "avg_pool2d", "flatten", "linear"]),
        ("pool-to-3x3", ["conv2d", "reshape", "linear", "reshape", "flatten", "linear"]),
        ("avg-pool-divisor", ["conv2d", "conv2d", "conv2d"]),
        ("pad-with-five", ["conv2d", "constant_pad_nd", "add", "conv2d"]),
        (
            "mean-over-time",
            ["conv1d", "relu", "unsqueeze", "adaptive_avg_pool2d", "flatten", "linear"],
        ),
        (
            "series",
            [
                *("conv1d", "relu", "max_pool1d", "conv1d", "relu", "avg_pool1d"),
                *("conv1d", "relu", "avg_pool1d", "flatten", "linear"),
            ],
        ),
        ("norm-of-pictures", ["conv2d", "conv2d", "relu", "conv2d", "conv2d", "flatten", "linear"]),
        ("norm-of-rows", ["linear", "relu", "linear"]),
        (
            "norm-over-rows",
            ["reshape", "linear", "reshape", "conv1d", "flatten", "linear"],
        ),
        ("layer-scale", ["conv2d", "relu", "mul", "flatten", "linear"]),
        ("linear-3d", ["reshape", "linear", "relu", "reshape", "flatten", "linear"]),
    ],
)
def test_forms_with_integer_kernels(name, expected):
    assert ops(name) == expected


def test_parts_are_slices_and_silu_is_a_product():
    assert ops("shuffle-unit").count("slice") == 2
    found = [op for op in ops("squeeze-expand") if op != "sym_size"]
    assert found[:3] == ["conv2d", "sigmoid", "mul"]


def test_rows_regrouped_by_the_batch_are_not_a_flatten():
    found = [op for op in ops("view-groups-of-rows") if op != "sym_size"]
    assert found == ["reshape", "linear", "relu", "reshape", "linear"]


@torch.no_grad()
def test_upper_bounds_of_activations_stay():
    network = NETWORKS["functional"]
    x = 50 * network.inputs()  # whose activations reach 6
    torch.testing.assert_close(graph_of("functional")(x), network.make().eval()(x))


def test_filters_are_channels_last():
    filters = [p for p in graph_of("ten-lines").parameters() if p.ndim == 4]
    assert filters
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in filters)


def test_a_parameter_that_was_arranged_keeps_its_name():
    module = graph_of("layer-scale")
    assert module.get_parameter("p").shape == (1, 8, 1, 1)
    assert NETWORKS["layer-scale"].make().p.shape == (8,)


@pytest.mark.parametrize("keepdim", [False, True])
@torch.no_grad()
def test_a_sum_of_branches_becomes_additions(keepdim):
    """Selective kernels weigh feature maps and sum them: [N, branches, C, H, W]."""
    net = Net(lambda net, x: torch.stack([x, 2 * x, x.flip(3)], 1).sum(1, keepdim=keepdim))
    x = torch.randn(2, 3, 4, 5)
    module = capture(net, x).module
    found = [op_name(node) for node in module.graph.nodes]
    assert found.count("add") == 2
    assert "sum" not in found
    torch.testing.assert_close(module(x), net(x))


@pytest.mark.parametrize("axes", [(1, 2), (3,)])
@torch.no_grad()
def test_other_sums_stay(axes):
    net = Net(lambda net, x: x.sum(axes) * 2)
    x = torch.randn(2, 3, 4, 4)
    assert "sum" in [op_name(node) for node in capture(net, x).module.graph.nodes]
