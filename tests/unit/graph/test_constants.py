"""What depends on parameters alone is computed once, exactly, and keeps the name of its layer."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph import capture
from qutils.graph.nodes import attribute, op_name
from qutils.quantize.calibration import calibrate
from tests.unit.graph.networks import Net, Standardized, conv

X = torch.linspace(-2, 2, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)


def layered(change) -> nn.Module:
    """Two layers, the first changed, as after training: every hook has run."""
    torch.manual_seed(0)
    model = nn.Sequential(conv(), nn.ReLU(), conv(8, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the old weight_norm
        change(model[0])
    model(X)
    return model.eval()


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.flip(-1)


CHANGES = {
    "weight_norm": parametrizations.weight_norm,
    "weight_norm by a hook": weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "spectral_norm by a hook": spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "of one's own": lambda layer: parametrize.register_parametrization(
        layer, "weight", Symmetric()
    ),
    "two, one after the other": lambda layer: [
        parametrizations.weight_norm(layer),
        parametrize.register_parametrization(layer, "weight", Symmetric()),
    ],
}


@pytest.mark.parametrize("name", CHANGES)
@torch.no_grad()
def test_a_computed_weight_is_stored_exactly_under_the_name_of_its_layer(name):
    model = layered(CHANGES[name])
    module = capture(model, X).module
    assert [op_name(n) for n in module.graph.nodes if n.op == "call_function"] == [
        *("conv2d", "relu", "conv2d")
    ]
    model(X)  # hooks compute the weight at every call
    assert torch.equal(module.get_parameter("0.weight"), model[0].weight)
    assert sorted(name for name, _ in module.named_parameters()) == [
        *("0.bias", "0.weight", "2.bias", "2.weight")
    ]
    assert not list(module.named_buffers())


@pytest.mark.parametrize("name", CHANGES)
def test_the_callers_model_keeps_its_parametrization(name):
    model = layered(CHANGES[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    capture(model, X)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_weight_site_has_the_name_of_its_layer():
    sim = calibrate(layered(parametrizations.weight_norm), X)
    weights = [site.name for site in sim.placement.sites.values() if site.role == "weight"]
    assert weights == ["0.weight", "2.weight"]


@torch.no_grad()
def test_a_standardized_weight_is_what_the_layer_computes():
    torch.manual_seed(0)
    model = nn.Sequential(Standardized(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    captured = capture(model[:1], X).module
    seen = []
    model[0]._conv_forward = lambda x, weight, bias: seen.append(weight) or x
    model[0](X)
    assert torch.equal(captured.get_parameter("0.weight"), seen[0])


@torch.no_grad()
def test_a_batch_norm_whose_scale_is_computed_from_buffers_stays_a_buffer():
    frozen = Net(
        lambda net, x: net.conv(x).relu() * (net.scale * net.variance.rsqrt()).view(1, -1, 1, 1),
        conv=conv(),
        scale=torch.linspace(0.5, 2, 8),
        variance=torch.linspace(1, 2, 8),
    )
    module = capture(frozen, X).module
    assert dict(module.named_buffers()).keys() == {"scale"}
    assert module.get_buffer("scale").shape == (1, 8, 1, 1)
    torch.testing.assert_close(module(X), frozen(X))


def test_what_is_read_computed_and_plain_is_stored_twice():
    both = Net(
        lambda net, x: F.conv2d(x, net.weight) + F.conv2d(x, net.weight * 2),
        weight=nn.Parameter(torch.randn(4, 3, 1, 1)),
    )
    module = capture(both, X).module
    assert [name for name, _ in module.named_parameters()] == ["weight", "weight_2"]
    assert torch.equal(module.get_parameter("weight_2"), 2 * both.weight)


def test_a_computed_value_that_two_layers_read_is_stored_once():
    def twice(net: Net, x: Tensor) -> Tensor:
        weight = net.weight.tanh()
        return F.conv2d(F.conv2d(x, weight).relu(), weight)

    module = capture(Net(twice, weight=nn.Parameter(torch.randn(3, 3, 1, 1))), X).module
    assert [name for name, _ in module.named_parameters()] == ["weight"]


def test_an_expanded_parameter_is_not_stored_in_full():
    grown = Net(
        lambda net, x: x + net.shift.exp().view(1, 3, 1, 1).expand(1, 3, 8, 8),
        shift=nn.Parameter(torch.randn(3)),
    )
    module = capture(grown, X).module
    assert module.get_parameter("shift").shape == (1, 3, 1, 1)
    torch.testing.assert_close(module(X), grown(X))


def test_random_numbers_are_no_constants():
    noisy = Net(
        lambda net, x: x + net.spread * torch.randn(1, 3, 1, 1), spread=nn.Parameter(torch.ones(1))
    )
    with pytest.raises(UnsupportedError, match=r"forward itself draws random .* \(aten.randn\)"):
        capture(noisy, X)


def test_a_weight_that_depends_on_the_input_stays_computed():
    gated = Net(lambda net, x: F.conv2d(x, net.weight * x.mean()), weight=conv().weight)
    assert [
        op_name(n) for n in capture(gated, X).module.graph.nodes if n.op == "call_function"
    ] == [*("mean", "mul", "conv2d")]


def test_a_norm_of_zero_is_named():
    def empty(layer: nn.Module) -> None:
        layer.weight.data.zero_()
        parametrizations.weight_norm(layer)

    message = r"computes from 0\.parametrizations\.weight.* holds NaN: .*Load sound weights"
    with pytest.raises(InvalidInputError, match=message):
        capture(layered(empty), X)


@pytest.mark.parametrize(
    ("frozen", "learns"),
    [((), True), (("original0",), False), (("original0", "original1"), False)],
    ids=["none", "the length", "both"],
)
def test_a_computed_weight_trains_if_all_of_it_does(frozen, learns):
    model = layered(parametrizations.weight_norm)
    for name in frozen:
        attribute(model[0].parametrizations.weight, name).requires_grad_(False)
    assert capture(model, X).module.get_parameter("0.weight").requires_grad == learns


def test_a_mask_does_not_freeze_a_weight():
    module = capture(layered(CHANGES["pruned"]), X).module
    assert module.get_parameter("0.weight").requires_grad
