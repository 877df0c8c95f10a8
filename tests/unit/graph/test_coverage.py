from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from qutils.errors import UnsupportedError
from qutils.graph import TARGETS, capture, coverage, place
from qutils.quantize.calibration import calibrate
from tests.unit.graph.networks import graph_of, observed
from tests.unit.graph.networks.base import Net, conv, linear
from tests.unit.graph.test_demote import Block

ORT = TARGETS["onnxruntime"]


def covered(model: nn.Module, *shape: int, **options):
    module = capture(model, torch.randn(2, *shape)).module
    return coverage(module, place(module, ORT, **options))


def test_all_of_a_residual_network_is_in_integers():
    found = coverage(graph_of("resnet8"), observed("resnet8").placement)
    assert (found.share, found.islands, found.in_float) == (1, 0, ())
    assert str(found) == "100.0% of the multiply-adds run in integer kernels."


def test_multiply_adds_of_a_convolution():
    found = covered(nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=2)), 4, 5, 7)
    assert found.multiply_adds == 2 * 6 * 5 * 7 * (2 * 3 * 3)


def test_multiply_adds_of_a_transposed_convolution():
    found = covered(nn.Sequential(conv(), nn.ConvTranspose2d(8, 4, 2, 2)), 3, 8, 8)
    of_conv, of_transposed = 8 * 64 * 27, 8 * 64 * (4 * 2 * 2)
    assert found.multiply_adds == 2 * (of_conv + of_transposed)
    assert found.share == 1


def test_multiply_adds_of_attention():
    def forward(net, x):  # 2 heads of 4 features
        q, k, v = (layer(x).unflatten(2, (2, 4)).transpose(1, 2) for layer in (net.q, net.k, net.v))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return net.out(mixed.transpose(1, 2).flatten(2))

    net = Net(forward, **{name: linear(8, 8) for name in ("q", "k", "v", "out")})
    found = covered(net, 5, 8)
    of_layers, of_products = 4 * 5 * 8 * 8, 2 * (2 * 5 * 5 * 4)
    assert found.multiply_adds == 2 * (of_layers + of_products)
    assert found.share == 1


def test_multiply_adds_of_a_recurrent_layer():
    def forward(net, x):
        return net.head(net.recurrent(x)[0].mean(1))

    net = Net(forward, recurrent=nn.LSTM(8, 16, batch_first=True), head=linear(16, 5))
    found = covered(net, 7, 8)
    of_recurrent, of_head = 7 * 4 * 16 * (8 + 16), 16 * 5
    assert found.multiply_adds == 2 * (of_recurrent + of_head)
    assert found.integer == 2 * of_head


def test_islands_are_counted_between_integer_kernels():
    gelu = nn.Sequential(conv(), nn.GELU(), conv(8, 8), nn.Tanh(), nn.GELU(), conv(8, 8), nn.GELU())
    assert covered(gelu, 3, 8, 8).islands == 2  # no integer kernel reads the last one


def test_reasons_are_said():
    found = covered(nn.Sequential(linear(6, 8), Block(), linear(8, 3)), 5, 6, keep_float=["2"])
    assert found.sentences()[1:] == [
        "No integer kernel, kept in float: layer_norm (1.norm1, 1.norm2).",
        "Kept in float as asked: linear (2).",
        "Between float operators, where integers would only round, kept in float: add (1).",
        "They form 1 float island between integer kernels.",
    ]


def test_what_moves_values_between_float_operators_is_not_said_to_lack_a_kernel():
    def forward(net, x):  # the first place of a sequence of any length
        rolled = torch.roll(net.norm(net.first(x)), 1, 1)
        return net.last(torch.tanh(rolled.chunk(2, 1)[0][:, 0]))

    net = Net(forward, first=linear(8, 8), norm=nn.LayerNorm(8), last=linear(8, 3))
    module = capture(net, {"x": torch.randn(2, 5, 8)}, dynamic={"x": {1: "length"}}).module
    found = coverage(module, place(module, ORT)).sentences()
    assert found[1:3] == [
        "No integer kernel, kept in float: layer_norm (norm), tanh (tanh).",
        "Between float operators, where integers would only round, kept in float: "
        "roll (roll), split (split), select (select).",
    ]
    with pytest.raises(
        UnsupportedError, match=r"^operators aten.layer_norm in module 'norm', aten.tanh"
    ):
        place(module, ORT, strict=True)


def test_what_moves_integers_along_an_open_axis_lacks_a_kernel():
    net = Net(lambda net, x: net.last(net.first(x)[:, 0]), first=linear(8, 8), last=linear(8, 3))
    module = capture(net, {"x": torch.randn(2, 5, 8)}, dynamic={"x": {1: "length"}}).module
    found = coverage(module, place(module, ORT)).sentences()
    assert found[1] == "No integer kernel, kept in float: select (select)."


def test_many_layers_are_counted_not_listed():
    net = nn.Sequential(*(m for _ in range(5) for m in (linear(6, 6), nn.GELU())), linear(6, 2))
    assert "gelu (1, 3, 5 and 2 more)" in str(covered(net, 6))


def test_a_network_that_stays_mostly_in_float_warns():
    net = Net(
        lambda net, x: net.head(net.recurrent(x)[0].mean(1)),
        recurrent=nn.LSTM(8, 16, batch_first=True),
        head=linear(16, 5),
    )
    x = torch.randn(4, 3, 8, 8)
    said = (
        r"^Only 0\.6% of the multiply-adds run in integer kernels\. "
        r"The rest is computed in float by lstm \(recurrent\)\. "
        r"print\(sim\.coverage\) says more\.$"
    )
    with pytest.warns(UserWarning, match=said):
        calibrate(net, x[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibrate(nn.Sequential(conv(), nn.GELU(), conv(8, 8)), x)
