from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from qutils.graph import capture
from qutils.graph.fold import BATCH_NORMS, fold_batch_norm, folded
from qutils.graph.nodes import op_name
from tests.unit.graph.networks import NETWORKS, ZOO, Net, conv, graph_of, random_batch_norm


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


@pytest.mark.parametrize(
    "net",
    [
        Net(
            lambda net, x: (lambda y: net.bn(y) + y)(net.conv(x)), conv=conv(), bn=nn.BatchNorm2d(8)
        ),
        nn.Sequential(nn.BatchNorm2d(3), conv()),
        nn.Sequential(nn.Linear(8, 8), nn.BatchNorm2d(3)),
        nn.Sequential(conv(), nn.BatchNorm2d(8, track_running_stats=False)),
    ],
    ids=["layer-used-twice", "no-layer-before", "channels-elsewhere", "statistics-of-the-batch"],
)
@torch.no_grad()
def test_what_cannot_be_folded_stays(net):
    x = torch.randn(4, 3, 8, 8)
    net = random_batch_norm(net).eval()
    module = capture(net, x).module
    assert any("batch_norm" in op_name(n) for n in module.graph.nodes)
    torch.testing.assert_close(module(x), net(x), rtol=1e-4, atol=1e-5)
