from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph import capture
from qutils.graph.nodes import op_name
from tests.unit.graph.networks import (
    NETWORKS,
    ZOO,
    Net,
    conv,
    graph_of,
    linear,
    observed,
    ten_lines,
)

ALL = {**NETWORKS, **ZOO}


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_the_graph_computes_what_the_model_does(name):
    model, x = ALL[name].make(), ALL[name].inputs()
    expected = model.eval()(x.clone())
    got = graph_of(name)(x)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_the_batch_is_dynamic_even_after_a_single_example():
    captured = capture(ten_lines(), torch.randn(1, 3, 8, 8))
    for n in (1, 2, 7):
        assert captured.module(torch.randn(n, 3, 8, 8)).shape == (n, 10)


@pytest.mark.parametrize("training", [True, False])
def test_the_callers_model_is_left_alone(training):
    model = ten_lines().train(training)
    before = copy.deepcopy(model.state_dict())
    hooks = len(model._forward_pre_hooks)
    capture(model, torch.randn(2, 3, 8, 8))
    assert all(module.training == training for module in model.modules())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert model.state_dict().keys() == before.keys()
    assert len(model._forward_pre_hooks) == hooks
    assert all(p.requires_grad for p in model.parameters())


def test_the_callers_input_is_left_alone():
    x = NETWORKS["inplace-relu-first"].inputs()
    before = x.clone()
    capture(NETWORKS["inplace-relu-first"].make(), x).module(x)
    assert torch.equal(x, before)


def test_parameters_keep_their_names():
    read = {str(n.target) for n in graph_of("resnet8").graph.nodes if n.op == "get_attr"}
    assert {"stem.0.weight", "stem.0.bias", "stage2.shortcut.weight", "classifier.bias"} <= read


def test_the_graph_is_flat_and_functional():
    ops = {op_name(n) for n in graph_of("inplace-add").graph.nodes if n.op == "call_function"}
    assert ops == {"conv2d", "add", "relu", "flatten", "linear"}


@pytest.mark.parametrize("where", ["parameter", "buffer", "non-persistent buffer"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "inf"])
def test_nan_and_inf_in_the_model_are_named(where, value):
    model = ten_lines()
    if where == "parameter":
        model[4].weight.data[3, 2, 1, 0] = value
        name = "4.weight"
    elif where == "buffer":
        model[1].running_var[5] = value
        name = "1.running_var"
    else:
        model.register_buffer("mask", torch.tensor([value]), persistent=False)
        name = "mask"
    with pytest.raises(InvalidInputError, match=rf"the model's {name} holds NaN or Inf"):
        capture(model, torch.randn(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1, 8, 8), r"Sequential does not run on input of shape \[N, 1, 8, 8\].*3 channels"),
        ((2, 3, 9, 4), r"does not run on input of shape \[N, 3, 9, 4\].*Give inputs of the shape"),
        ((8,), r"needs a batch and more axes, got \[8\]"),
        ((0, 3, 8, 8), r"needs a batch and more axes, got \[0, 3, 8, 8\]"),
    ],
    ids=["channels", "size", "no-batch", "empty"],
)
def test_wrong_shape(shape, message):
    with pytest.raises(InvalidInputError, match=message):
        capture(ten_lines(), torch.zeros(shape))


@pytest.mark.parametrize(
    ("dtype", "message"),
    [(torch.uint8, "float input, got torch.uint8: normalize"), (torch.float64, r"\.float\(\)")],
)
def test_wrong_dtype(dtype, message):
    with pytest.raises(InvalidInputError, match=message):
        capture(ten_lines(), torch.zeros(2, 3, 8, 8, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_model_that_is_not_float32_is_named(dtype):
    with pytest.raises(InvalidInputError, match=rf"0.weight is {dtype}.*model\.float\(\)"):
        capture(ten_lines().to(dtype), torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize(
    "drawn",
    [
        torch.rand_like,
        lambda x: torch.randn(x.shape[0], 4),
        lambda x: torch.bernoulli(x.sigmoid()),
        lambda x: F.rrelu(x, training=True),
    ],
    ids=["uniform", "normal", "switches", "rrelu"],
)
def test_random_numbers_in_eval_mode_are_refused(drawn):
    net = Net(lambda net, x: net.layer(x) + drawn(net.layer(x)), layer=linear(3))
    with pytest.raises(
        UnsupportedError, match=r"In eval mode forward itself draws random numbers \(aten\."
    ):
        capture(net, torch.randn(2, 3))


def test_dropout_inside_a_recurrent_layer_that_trains_is_refused():
    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LSTM(3, 4, 2, dropout=0.5, batch_first=True)

        def forward(self, x):
            self.layer.train()
            return self.layer(x)[0]

    with pytest.raises(UnsupportedError, match=r"module 'layer' draws random numbers \(aten.lstm"):
        capture(Layers(), torch.randn(2, 5, 3))


def test_what_only_training_draws_is_taken():
    net = Net(lambda net, x: F.rrelu(F.dropout(net.layer(x), 0.5, False)), layer=linear(3))
    x = torch.randn(2, 3)
    torch.testing.assert_close(capture(net, x).module(x), net(x))


def test_dropout_that_stays_random_is_refused():
    net = Net(lambda net, x: F.dropout(net.layer(x), 0.5, training=True), layer=linear(3))
    with pytest.raises(UnsupportedError, match="dropout in module .* stays random.*self.training"):
        capture(net, torch.randn(2, 3))


def test_a_failed_trace_says_nothing_beside_its_error(capfd):
    with pytest.raises(UnsupportedError) as caught:
        capture(Branches(), torch.randn(2, 3))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Branches(), "torch.export cannot trace Branches: .*data-dependent"),
        (TwoInputs(), r"TwoInputs\.forward takes x, y, got one tensor alone"),
    ],
    ids=["data-dependent", "two-inputs"],
)
def test_models_that_cannot_be_captured(model, message):
    with pytest.raises(UnsupportedError, match=message):
        capture(model, torch.randn(2, 3))


def test_a_model_that_cannot_be_copied():
    model = nn.Linear(2, 2)
    model.cache = model.weight * 2  # a tensor with a history
    with pytest.raises(UnsupportedError, match="Linear cannot be copied"):
        capture(model, torch.randn(2, 2))


def test_a_model_with_one_named_output_is_fine():
    net = Net(
        lambda net, x: {"logits": net.head(net.conv(x).flatten(1))}, conv=conv(), head=linear()
    )
    assert capture(net, torch.randn(2, 3, 8, 8)).module(torch.randn(3, 3, 8, 8)).shape == (3, 4)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 3, 8, 9), r"\[N, 3, 8, 8\], got \[2, 3, 8, 9\]"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "float input"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.float64), "float32 input"),
    ],
    ids=["shape", "integers", "double"],
)
def test_check(x, message):
    with pytest.raises(InvalidInputError, match=message):
        observed("ten-lines").captured.check(x)
