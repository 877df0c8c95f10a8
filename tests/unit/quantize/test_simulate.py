from __future__ import annotations

import pytest
import torch
from torch import nn

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.mixed import mixed
from qutils.evaluate.analysis.sqnr import sqnr_db
from qutils.graph.nodes import op_name
from qutils.numerics import affine
from qutils.numerics.affine import MIN_SCALE
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate, observe
from qutils.quantize.simulate import BIAS_LIMIT, FakeQuantize, FakeQuantizeBias, SimulatedModel
from tests.unit.graph.networks import NETWORKS, conv, linear, observed

GRANULARITIES = {
    "per-tensor": Scheme(bits=4),
    "per-channel": Scheme(bits=4, granularity="per_channel"),
    "per-group": Scheme(bits=4, granularity="per_group", group_size=3),
}


def ten_lines(recipe: Recipe | None = None) -> SimulatedModel:
    return observed("ten-lines").simulate(recipe or Recipe())


def biases(sim: SimulatedModel) -> list[tuple[FakeQuantizeBias, torch.Tensor]]:
    module = sim.graph_module
    calls = [n for n in module.graph.nodes if n.op == "call_module"]
    pairs = [(module.get_submodule(n.target), n.args[0]) for n in calls]
    return [
        (quantizer, module.get_parameter(source.target))
        for quantizer, source in pairs
        if isinstance(quantizer, FakeQuantizeBias)
    ]


@torch.no_grad()
def by_hand(sim: SimulatedModel, x: torch.Tensor) -> torch.Tensor:
    """The ten-line network, layer by layer, from ``affine`` alone."""
    q = {name: module.qparams() for name, module in sim.quantizers.items()}
    weights = sim.graph_module.get_parameter

    def bias(layer: str, source: str) -> torch.Tensor:
        scale = q[source].scale * q[f"{layer}.weight"].scale
        return torch.round(weights(f"{layer}.bias") / scale) * scale

    def weight(layer: str) -> torch.Tensor:
        return affine.fake_quantize(weights(f"{layer}.weight"), q[f"{layer}.weight"])

    x = affine.fake_quantize(x, q["input"])
    x = nn.functional.conv2d(x, weight("0"), bias("0", "input"), padding=1).relu()
    x = nn.functional.max_pool2d(affine.fake_quantize(x, q["0"]), 2)
    x = nn.functional.relu6(nn.functional.conv2d(x, weight("4"), bias("4", "0"), padding=1))
    x = affine.fake_quantize(x, q["4"]).flatten(1)
    return nn.functional.linear(x, weight("8"), bias("8", "4"))


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_against_the_same_network_by_hand(bits):
    recipe = Recipe(
        weights=Scheme(bits=bits, granularity="per_channel"), activations=Scheme(bits=bits)
    )
    sim = ten_lines(recipe)
    x = NETWORKS["ten-lines"].inputs()
    expected = by_hand(sim, x)
    # Another order of summation may turn a tie into the next step, here and there.
    close = (sim(x) - expected).abs() < 1e-5 * expected.abs().max()
    assert close.float().mean() > 0.95


@pytest.mark.parametrize("scheme", GRANULARITIES.values(), ids=GRANULARITIES)
def test_weights_take_few_values(scheme):
    sim = ten_lines(Recipe(weights=scheme))
    for name, quantizer in sim.quantizers.items():
        if quantizer.site.role != "weight":
            continue
        weight = sim.graph_module.get_parameter(name)
        q = quantizer.qparams()
        rounded = quantizer(weight)
        assert torch.equal(rounded, affine.fake_quantize(weight, q))
        rows = affine.to_rows(rounded, q.axis, q.group_size)
        assert max(len(row.unique()) for row in rows) <= 15  # symmetric: -7..7
        bound = affine.expand(q.scale, weight, q.axis, q.group_size) * 0.5001
        assert ((rounded - weight).abs() <= bound).all()  # minmax clips nothing


@pytest.mark.parametrize("name", ["per-tensor", "per-channel"])
def test_biases_lie_on_the_grid_of_the_accumulator(name):
    sim = ten_lines(Recipe(weights=GRANULARITIES[name]))
    assert len(biases(sim)) == 3
    for quantizer, bias in biases(sim):
        steps = quantizer(bias) / quantizer.scale
        torch.testing.assert_close(steps, steps.round(), rtol=1e-6, atol=1e-3)
        assert ((quantizer(bias) - bias).abs() <= 0.51 * quantizer.scale).all()


def test_biases_stay_float_beside_weights_per_group():
    for quantizer, bias in biases(ten_lines(Recipe(weights=GRANULARITIES["per-group"]))):
        assert quantizer(bias) is bias


def test_a_bias_learns_straight_through():
    quantizer, bias = biases(ten_lines())[0]
    bias = bias.detach().clone().requires_grad_()
    quantizer(bias).sum().backward()
    assert torch.equal(bias.grad, torch.ones_like(bias))


def small() -> nn.Sequential:
    return nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), linear())


def test_dead_channels():
    model = small()
    with torch.no_grad():
        model[0].weight[2] = 0
        model[0].bias[2] = 0
    x = torch.randn(8, 3, 8, 8)
    kept = observe(model, x)
    for scheme in GRANULARITIES.values():
        sim = kept.simulate(Recipe(weights=scheme))
        assert torch.isfinite(sim(x)).all()
        weight = sim.graph_module.get_parameter("0.weight")
        assert (sim.quantizers["0.weight"](weight)[2] == 0).all()


@pytest.mark.parametrize("constant", [0.0, 1.5, -2.0])
@torch.no_grad()
def test_constant_inputs(constant):
    model, x = small(), torch.full((4, 3, 8, 8), constant)
    kept = observe(model, x)
    for symmetric in (False, True):
        scheme = Scheme(signed=symmetric, symmetric=symmetric)
        sim = kept.simulate(Recipe(activations=scheme, boundary=scheme))
        torch.testing.assert_close(sim(x), model(x), rtol=0.05, atol=0.05)


def test_all_zero_weights_and_activations():
    model = small()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    sim = calibrate(model, torch.zeros(4, 3, 8, 8))
    assert torch.equal(sim(torch.randn(4, 3, 8, 8)), torch.zeros(4, 4))


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@torch.no_grad()
def test_a_large_bias_beside_tiny_weights_fits_int32(granularity):
    model, x = small(), torch.randn(8, 3, 8, 8)
    model[0].weight[1] *= 1e-9
    model[0].bias[1] = 5000.0
    if granularity == "per_tensor":
        model[0].weight *= 1e-9
    sim = calibrate(model, x, Recipe(weights=Scheme(granularity=granularity)))
    quantizer, bias = biases(sim)[0]
    assert (bias.abs() / quantizer.scale <= BIAS_LIMIT * 1.0001).all()
    torch.testing.assert_close(quantizer(bias), bias, rtol=1e-6, atol=0.1)
    expected = model(x)
    torch.testing.assert_close(sim(x), expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))


def test_only_what_has_to_grow_grows():
    small = ten_lines()
    before = {k: q.scale.clone() for k, q in small.quantizers.items()}
    small.fit_biases()
    assert all(torch.equal(before[k], q.scale) for k, q in small.quantizers.items())


def test_biases_may_be_buffers():
    sim = observed("buffers").simulate(Recipe())
    assert torch.isfinite(sim(NETWORKS["buffers"].inputs())).all()


def test_a_scale_that_training_led_below_zero_acts_as_the_smallest():
    quantizer, bias = biases(ten_lines())[0]
    source, _ = quantizer._quantizers
    source.scale.fill_(-1.0)
    assert float(source.qparams().scale) == pytest.approx(MIN_SCALE)
    assert (quantizer.scale > 0).all()
    assert torch.isfinite(quantizer(bias)).all()


@pytest.mark.parametrize("observer", ["minmax", "mse", "entropy"])
@pytest.mark.parametrize("factor", [2.0**-20, 2.0**-40, 2.0**20, 1e-6])
@torch.no_grad()
def test_the_unit_of_the_input_changes_no_sqnr(factor, observer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 3, bias=False))
    recipe = Recipe(Scheme(observer=observer), Scheme(observer=observer))
    x = torch.randn(16, 3, 8, 8)
    sqnr = [sqnr_db(model(u * x), calibrate(model, u * x, recipe)(u * x)) for u in (1.0, factor)]
    assert sqnr[1] == pytest.approx(
        sqnr[0], abs=1
    )  # with a smallest scale of 1e-7, 1e-6 would lose 20 dB


def test_a_range_ends_at_the_ceiling_of_an_absorbed_relu6():
    sim = ten_lines()
    relu, relu6 = sim.quantizers["0"], sim.quantizers["4"]
    with torch.no_grad():
        relu.scale.fill_(0.1)
        relu6.scale.fill_(0.1)
    assert float(relu.qparams().scale) == pytest.approx(0.1)  # ReLU has no upper end
    assert float(relu6.qparams().scale) * 255 == pytest.approx(6)
    x = torch.linspace(-1, 9, 50)
    for quantizer in (relu, relu6):
        assert torch.equal(quantizer(x), affine.fake_quantize(x, quantizer.qparams()))


@pytest.mark.parametrize(("led_to", "acts_as"), [(-3.4, 0), (300.0, 255)])
@torch.no_grad()
def test_a_zero_point_that_training_led_outside_acts_as_the_nearest_integer(led_to, acts_as):
    quantizer, x = ten_lines().quantizers["input"], torch.linspace(-9, 9, 50)
    quantizer.zero_point.fill_(led_to)
    assert int(quantizer.qparams().zero_point) == acts_as
    assert torch.equal(quantizer(x), affine.fake_quantize(x, quantizer.qparams()))


def test_a_copy_is_independent():
    sim = ten_lines()
    x = NETWORKS["ten-lines"].inputs()
    before, twin = sim(x), sim.copy()
    assert torch.equal(twin(x), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(1.5)
    assert torch.equal(sim(x), before)
    assert not torch.equal(twin(x), before)


def test_the_biases_of_a_copy_follow_its_own_quantizers():
    twin = ten_lines().copy()
    own = {id(q) for q in twin.quantizers.values()}
    for quantizer, _ in biases(twin):
        assert {id(q) for q in quantizer._quantizers} <= own


def test_gradients_reach_weights_biases_and_ranges():
    sim = ten_lines(Recipe(weights=GRANULARITIES["per-channel"])).train()
    for parameter in sim.parameters():
        parameter.requires_grad_(True)
    sim(NETWORKS["ten-lines"].inputs()).square().mean().backward()
    for name, parameter in sim.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert all(q.scale.grad.abs().sum() > 0 for q in sim.quantizers.values())


def test_every_site_has_its_quantizer_in_order_of_execution():
    sim = ten_lines()
    assert set(sim.quantizers) == {s.name for s in sim.placement.sites.values()}
    assert list(sim.quantizers)[-1] == "8.weight"
    layers = [n for n in sim.graph_module.graph.nodes if op_name(n) in ("conv2d", "linear")]
    for node in layers:
        for argument in node.args[:2]:
            while argument.op != "call_module":  # pass-through ops keep what was quantized
                argument = argument.args[0]
            assert isinstance(sim.graph_module.get_submodule(argument.target), FakeQuantize)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (3, 8, 8), (2, 3, 8, 9)])
def test_wrong_input_shape(shape):
    with pytest.raises(InvalidInputError, match=r"takes input of shape \[N, 3, 8, 8\], got"):
        ten_lines()(torch.zeros(shape))


def test_a_missing_quantizer_is_named():
    kept = observed("ten-lines")
    quantizers = dict(ten_lines().quantizers)
    del quantizers["4.weight"]
    with pytest.raises(InvalidInputError, match=r"no quantizer for 4\.weight"):
        SimulatedModel(kept.captured, kept.placement, kept.target, Recipe(), quantizers)


# Grids of a cat -----------------------------------------------------------------------------------


class Joined(nn.Module):
    """``y`` goes on by itself and is joined with ``factor`` times another layer's result."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 4), conv(4, 4), conv(8, 2)
        with torch.no_grad():
            self.second.weight.mul_(factor)
            self.second.bias.mul_(factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.last(torch.cat([y, self.second(y)], 1))


def joined(factor: float, bits: int = 8) -> tuple[float, float]:
    """Scales of what is joined, and of the whole."""
    x = torch.randn(16, 3, 8, 8)
    sim = calibrate(Joined(factor).eval(), x, Recipe(activations=Scheme(bits=bits)))
    by_node = {q.site.node: float(q.scale.mean().detach()) for q in sim.quantizers.values()}
    return by_node["conv2d"], by_node["cat"]


def test_what_a_cat_joins_has_the_grid_of_the_whole_where_that_costs_little():
    part, whole = joined(factor=3.0)
    assert part == whole


def test_it_keeps_its_own_grid_where_more_than_a_bit_would_be_lost():
    part, whole = joined(factor=40.0)
    assert part < whole / 2


def test_fewer_bits_are_not_given_away():
    part, whole = joined(factor=3.0, bits=4)
    assert part < whole


def test_a_range_that_is_its_relu_is_not_widened_below_zero():
    """Kernels that fuse the ReLU would keep layer and ReLU in float."""

    class Clipped(Joined):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x).relu()
            return self.last(torch.cat([y, self.second(y)], 1))

    sim = calibrate(Clipped(1.0).eval(), torch.randn(16, 3, 8, 8))
    by_node = {q.site.node: q for q in sim.quantizers.values()}
    assert int(by_node["relu"].zero_point) == 0 < int(by_node["cat"].zero_point)


def test_other_integers_are_not_mixed_up():
    """A part of 4 bits, or of signed integers, keeps the grid that its observer chose."""
    kept = observe(Joined(1.0).eval(), torch.randn(16, 3, 8, 8))
    sim = mixed(kept, Recipe(activations=Scheme(4)), ["cat"], Recipe())
    alone = kept.simulate(Recipe(activations=Scheme(4)))
    for name in set(sim.quantizers) - {"cat"}:
        assert torch.equal(sim.quantizers[name].scale, alone.quantizers[name].scale), name
        assert torch.equal(sim.quantizers[name].zero_point, alone.quantizers[name].zero_point)


class Nested(Joined):
    """A cat that goes on by itself and is joined with a third layer's result."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.third, self.beside = conv(4, 4), conv(12, 2)
        with torch.no_grad():
            self.third.weight.mul_(2.0)
            self.third.bias.mul_(2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        inner = torch.cat([y, self.second(y)], 1)
        return self.last(inner) + self.beside(torch.cat([inner, self.third(y)], 1))


def test_a_cat_of_cats_has_one_grid():
    sim = calibrate(Nested().eval(), torch.randn(16, 3, 8, 8))
    scales = {q.site.node: float(q.scale.mean()) for q in sim.quantizers.values()}
    alone = observe(Joined(1.0).eval(), torch.randn(16, 3, 8, 8))
    assert scales["conv2d"] == scales["cat"] == scales["cat_1"]
    assert scales["cat_1"] > 1.05 * float(alone.simulate(Recipe()).quantizers["cat"].scale)
