from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qutils.graph import capture
from qutils.graph.fold import BATCH_NORMS, fold_batch_norm, folded
from qutils.graph.nodes import op_name
from tests.unit.graph.networks import (
    NETWORKS,
    ZOO,
    Net,
    conv,
    graph_of,
    random_batch_norm,
)


def batch_norms(module):
    return sum(op_name(node) in BATCH_NORMS for node in module.graph.nodes)


@pytest.mark.parametrize(
    "layer",
    [conv(3, 4), conv(3, 4, bias=False), nn.Conv1d(3, 4, 3), nn.Linear(3, 4)],
    ids=["conv", "conv-no-bias", "conv1d", "linear"],
)
@torch.no_grad()
def test_against_batch_norm_itself(layer):
    norm = (nn.BatchNorm2d if isinstance(layer, nn.Conv2d) else nn.BatchNorm1d)(4)
    pair = random_batch_norm(nn.Sequential(layer, norm)).eval()
    x = torch.randn(5, 3, *{nn.Conv2d: (6, 6), nn.Conv1d: (6,), nn.Linear: ()}[type(layer)])
    expected = pair(x)
    weight, bias = folded(
        layer.weight,
        layer.bias,
        norm.weight,
        norm.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
    )
    layer.weight.copy_(weight)
    layer.bias = nn.Parameter(bias)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_without_affine():
    weight, bias = folded(
        torch.ones(1, 1), None, None, None, torch.ones(1), torch.full((1,), 3.0), 1.0
    )
    assert (weight.item(), bias.item()) == (0.5, -0.5)


@pytest.mark.parametrize(
    "name",
    [
        *("ten-lines", "linear-bn1d", "conv1d", "bn-no-affine", "padding-same", "named-kernel"),
        *("shared-conv", "shared-conv-one-bn", "tied", "top-level-weight"),
    ],
)
def test_no_batch_norm_is_left(name):
    assert batch_norms(graph_of(name)) == 0


@pytest.mark.parametrize(("name", "count"), [("resnet8", 7), ("mobilenetv2", 19)])
def test_every_batch_norm_of_the_zoo_is_folded(name, count):
    model = ZOO[name].make()
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == count
    assert batch_norms(graph_of(name)) == 0
    assert fold_batch_norm(copy.deepcopy(graph_of(name))) == 0


def test_a_shared_layer_has_a_weight_for_each_batch_norm():
    module = graph_of("shared-conv")
    convs = [n for n in module.graph.nodes if op_name(n) == "conv2d"]
    assert len({n.args[1].target for n in convs}) == 2
    assert len({n.args[2].target for n in convs}) == 2


def test_an_unfolded_call_keeps_the_weight():
    model = NETWORKS["shared-conv-one-bn"].make()
    module = graph_of("shared-conv-one-bn")
    last = [n for n in module.graph.nodes if op_name(n) == "conv2d"][-1]
    assert torch.equal(module.get_parameter(str(last.args[1].target)), model.conv.weight)


@pytest.mark.parametrize("name", ["norm-of-pictures", "pre-activation", "norm-over-rows"])
def test_what_cannot_be_folded_becomes_a_depthwise_convolution(name):
    module = graph_of(name)
    assert batch_norms(module) == 0
    groups = [n.args[6] for n in module.graph.nodes if len(n.args) > 6]
    channels = {"norm-of-pictures": [3, 8], "pre-activation": [8, 8], "norm-over-rows": [5]}
    assert groups == channels[name]


def test_rows_are_normalized_by_the_next_layer():
    module = graph_of("norm-of-rows")
    assert batch_norms(module) == 0
    biases = [n.args[2].target for n in module.graph.nodes if op_name(n) == "linear"]
    assert biases == ["1.bias", "5.bias"]  # the first had none


@torch.no_grad()
def test_batch_norm_of_the_rows_of_a_sequence_is_folded():
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm = nn.Linear(6, 5), nn.BatchNorm1d(5)

        def forward(self, x):
            y = self.layer(x)
            return self.norm(y.flatten(0, 1)).reshape_as(y)

    model, x = random_batch_norm(Rows()).eval(), torch.randn(3, 4, 6)
    module = capture(model, x).module
    assert batch_norms(module) == 0
    assert [op_name(n) for n in module.graph.nodes].count("linear") == 1
    torch.testing.assert_close(module(x), model(x))


def b(n):
    return nn.Parameter(torch.linspace(-1.0, 2.0, n))


@pytest.mark.parametrize(
    ("net", "left"),
    [
        (
            Net(
                lambda net, x: net.norm(F.conv2d(x, net.conv.weight, net.b * x.sum())),
                conv=conv(),
                b=b(8),
                norm=nn.BatchNorm2d(8),
            ),
            0,  # a depthwise convolution
        ),
        (
            Net(
                lambda net, x: F.batch_norm(net.conv(x), net.mean, net.variance, net.b * x.sum()),
                conv=conv(),
                b=b(8),
                mean=torch.ones(8),
                variance=torch.ones(8),
            ),
            1,
        ),
        (
            Net(
                lambda net, x: F.batch_norm(net.conv(x), net.mean, net.b.exp() * x.sum().exp()),
                conv=conv(),
                b=b(8),
                mean=torch.ones(8),
            ),
            1,
        ),
        (
            Net(
                lambda net, x: F.linear(net.norm(x.mean((2, 3))), net.head.weight, net.b + x.sum()),
                norm=nn.BatchNorm1d(3),
                head=nn.Linear(3, 5),
                b=b(5),
            ),
            1,
        ),
    ],
    ids=["bias", "gamma", "variance", "bias-of-the-next-linear"],
)
@torch.no_grad()
def test_what_the_graph_computes_is_not_folded_away(net, left):
    net, x = random_batch_norm(net).eval(), torch.randn(4, 3, 8, 8)
    module = capture(net, x).module
    assert batch_norms(module) == left
    torch.testing.assert_close(module(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.BatchNorm1d(8)), torch.randn(4, 3)),
        (
            nn.Sequential(conv(), nn.BatchNorm2d(8, track_running_stats=False)),
            torch.randn(4, 3, 8, 8),
        ),
    ],
    ids=["no-layer-behind", "statistics-of-the-batch"],
)
@torch.no_grad()
def test_what_is_no_layer_stays(net, x):
    net = random_batch_norm(net).eval()
    module = capture(net, x).module
    assert any("batch_norm" in op_name(node) for node in module.graph.nodes)
    torch.testing.assert_close(module(x), net(x), rtol=1e-4, atol=1e-5)
