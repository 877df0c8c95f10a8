from __future__ import annotations

import pytest
import torch
from torch import nn

from qutils.graph import TARGETS, capture, place
from qutils.graph.nodes import op_name
from qutils.quantize.calibration import calibrate
from tests.unit.graph.networks import observed
from tests.unit.graph.networks.base import Net, conv, linear

ORT = TARGETS["onnxruntime"]


def placed(model: nn.Module, *shape: int, target: str = "onnxruntime"):
    module = capture(model, torch.randn(2, *shape)).module
    return module, place(module, TARGETS[target])


def reasons(model: nn.Module, *shape: int) -> dict[str, str]:
    """Operator names of the nodes in float, with the reason."""
    module, placement = placed(model, *shape)
    return {
        f"{op_name(n)}": placement.in_float[n.name]
        for n in module.graph.nodes
        if n.name in placement.in_float
    }


class Block(nn.Module):
    """A block as transformers have it: layer norm in front of each branch, sums that carry on."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.grow, self.shrink = (
            linear(width, width),
            linear(width, 16),
            linear(16, width),
        )

    def forward(self, x):
        x = x + self.mix(self.norm1(x))
        return x + self.shrink(self.grow(self.norm2(x)).relu())


def test_the_residual_stream_of_a_transformer_is_not_rounded():
    module, placement = placed(nn.Sequential(linear(6, 8), Block(), Block(), linear(8, 3)), 5, 6)
    kinds = {n.name: op_name(n) for n in module.graph.nodes}
    rounded = sorted(kinds[s.node] for s in placement.sites.values() if s.role != "weight")
    # network input; the four inputs of a block's layers that norms and the ReLU make; last sum
    assert rounded == sorted(["", *["layer_norm"] * 4, *["relu"] * 2, "add"])


def test_only_the_sum_that_a_layer_reads_is_rounded():
    _, placement = placed(nn.Sequential(linear(6, 8), Block(), Block(), linear(8, 3)), 5, 6)
    adds = [name for name, why in placement.in_float.items() if why == "beside float"]
    assert len(adds) == 4
    assert [name in placement.sites for name in adds] == [False, False, False, True]


def test_a_residual_network_keeps_its_sums_in_integers():
    placement = observed("resnet8").placement
    assert placement.in_float == {}


def test_a_float_activation_keeps_only_its_neighbours_in_float():
    def forward(net, x):
        y = net.first(x).relu()
        y = y + net.second(y)  # read by layers alone, so in integers
        z = net.third(y) + y  # read by the GELU alone
        return net.last(nn.functional.gelu(z))

    net = Net(forward, first=conv(3, 8), second=conv(8, 8), third=conv(8, 8), last=conv(8, 4))
    module, placement = placed(net, 3, 8, 8)
    assert [
        (op_name(n), placement.in_float[n.name])
        for n in module.graph.nodes
        if n.name in placement.in_float
    ] == [("add", "beside float"), ("gelu", "no kernel")]


def test_the_activation_fused_into_a_sum_goes_with_it():
    def forward(net, x):
        y = net.first(x)
        return net.last(nn.functional.gelu((net.second(y) + y).relu()))

    net = Net(forward, first=conv(3, 8), second=conv(8, 8), last=conv(8, 4))
    assert reasons(net, 3, 8, 8) == {
        "add": "beside float",
        "relu": "beside float",
        "gelu": "no kernel",
    }


@pytest.mark.parametrize(("pooled", "why"), [(True, None), (False, "beside float")])
def test_a_small_gate_is_rounded_a_large_one_is_not(pooled, why):
    def forward(net, x):
        y = net.first(x).relu()
        gate = nn.functional.adaptive_avg_pool2d(y, 1) if pooled else y
        return net.last(y * nn.functional.hardsigmoid(net.gate(gate)))

    net = Net(forward, first=conv(3, 8), gate=conv(8, 8, 1), last=conv(8, 4))
    assert reasons(net, 3, 8, 8).get("mul") == why


def test_a_constant_that_only_float_operators_read_is_not_rounded():
    net = Net(
        lambda net, x: net.last(nn.functional.layer_norm(net.first(x) + net.place, (8,))),
        first=linear(6, 8),
        place=nn.Parameter(torch.randn(5, 8)),
        last=linear(8, 3),
    )
    _, placement = placed(net, 5, 6)
    assert "place" not in [site.name for site in placement.sites.values()]


@pytest.mark.parametrize(("width", "why"), [(1, None), (8, "beside float")])
def test_a_float_reader_counts_unless_it_reduces(width, why):
    """A mean over channels is a quarter of the sum at most; a tanh is all of it."""

    def forward(net, x):
        y = net.first(x) + net.second(x)
        seen = y.mean(1, keepdim=True) if width == 1 else torch.tanh(y)
        return net.last(y) + net.head(seen)

    net = Net(forward, first=conv(), second=conv(), last=conv(8, 4), head=conv(width, 4))
    assert reasons(net, 3, 8, 8).get("add") == why


def test_a_rounded_stream_would_cost_accuracy(monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(linear(6, 32), *(Block(32) for _ in range(6)), linear(32, 3)).eval()
    x = torch.randn(64, 5, 6)
    ours = calibrate(model, x)
    monkeypatch.setattr("qutils.graph.placement.beside_float", lambda *_: set())
    rounded = calibrate(model, x)
    with torch.no_grad():
        noise, more = ((sim(x) - model(x)).square().sum() for sim in (ours, rounded))
    assert more > 1.5 * noise


def test_a_target_with_quantized_output_rounds_it():
    _, placement = placed(
        Net(lambda net, x: net.a(x) + net.b(x), a=conv(), b=conv()), 3, 8, 8, target="litert"
    )
    assert placement.in_float == {}
