"""Bias correction against its definition: by hand, one layer at a time, and on trained networks."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import Interpreter

from qutils import zoo
from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import sqnr_db
from qutils.graph.nodes import argument, attribute, op_name
from qutils.integer import IntegerReference
from qutils.numerics import affine
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize import checkpoint, ptq, qat
from qutils.quantize.calibration import calibrate, observe
from qutils.quantize.ptq import bias_correction
from tests.unit.graph.networks import NETWORKS, observed

W3A8 = Recipe(Scheme(3, granularity="per_channel"))
#: One of each kind of layer, without bias, shared, behind a sum, before and behind an activation.
KINDS = (
    *("linear-only", "linear-no-bias", "linear-3d", "conv1d", "volume", "conv-options"),
    *("shared-conv", "conv-twice", "tied", "residual-of-input", "raw-and-relu", "many-things"),
)


class Values(Interpreter):
    """The value of every node of a graph, by name."""

    def __init__(self, module) -> None:
        super().__init__(module)
        self.values: dict[str, Tensor] = {}

    def run_node(self, n):
        self.values[n.name] = super().run_node(n)
        return self.values[n.name]


@torch.no_grad()
def values(module, x: Tensor) -> dict[str, Tensor]:
    runner = Values(module)
    runner.run(x)
    return runner.values


def layers(sim):
    """Node, path of the bias and channel axis of each layer with weights, in order."""
    nodes = sim.captured.module.graph.nodes
    for node in (n for n in nodes if op_name(n) in sim.target.weighted):
        yield node.name, str(argument(node, 2).target), -1 if op_name(node) == "linear" else 1


def biases(sim) -> dict[str, Tensor]:
    return {path: attribute(sim.graph_module, path).detach() for _, path, _ in layers(sim)}


def bias_step(sim, node: str) -> float:
    """Largest step of a layer's int32 bias: what is off by less, it cannot take out."""
    return float(sim.graph_module.get_submodule(f"quantizer_{node}_bias").scale.detach().max())


def mean(x: Tensor, axis: int) -> Tensor:
    return x.double().movedim(axis, 0).flatten(1).mean(1)


@torch.no_grad()
def one_layer_at_a_time(sim, x: Tensor):
    """As published: run both networks, subtract one layer's mean shift, start over."""
    sim = sim.copy()
    exact = values(sim.captured.module, x)
    for node, path, axis in layers(sim):
        bias = attribute(sim.graph_module, path)
        rounded = sim.graph_module.get_submodule(f"quantizer_{node}_bias")(bias)
        ours = mean(values(sim.graph_module, x)[node], axis) + bias - rounded
        bias.sub_((ours - mean(exact[node], axis)).float())
    return sim


def test_linear_layer_by_hand():
    torch.manual_seed(0)
    x, layer = torch.rand(64, 5) * 2, nn.Linear(5, 3)
    sim = calibrate(nn.Sequential(layer), x, Recipe(Scheme(3, granularity="per_channel")))
    quantizers = {q.site.role: q.qparams() for q in sim.quantizers.values()}
    rounded_x = affine.fake_quantize(x, quantizers["boundary"]).double().numpy()
    rounded_w = affine.fake_quantize(layer.weight, quantizers["weight"]).detach().double().numpy()
    w = layer.weight.detach().double().numpy()
    shift = rounded_x.mean(0) @ rounded_w.T - x.double().numpy().mean(0) @ w.T
    expected = layer.bias.detach().double().numpy() - shift
    corrected = bias_correction(sim, x)
    step = (quantizers["boundary"].scale * quantizers["weight"].scale).numpy()
    (bias,) = biases(corrected).values()
    assert np.abs(bias.double().numpy() - expected).max() <= step.max()  # of the int32 bias
    off = (corrected(x) - layer(x)).mean(0).abs().max()
    assert off <= step.max() < 0.1 * np.abs(shift).max()


@pytest.mark.parametrize("name", KINDS)
def test_published_form_equals_one_layer_at_a_time(name):
    kept, x = observed(name), NETWORKS[name].inputs()
    sim = kept.simulate(W3A8)
    corrected = bias_correction(sim, [x], everywhere=True)
    start = bias_correction(sim, [x]).copy()  # has a bias for every layer
    for path, bias in biases(start).items():
        bias.copy_(attribute(start.captured.module, path))
    expected = one_layer_at_a_time(start, x)
    for path, bias in biases(expected).items():
        torch.testing.assert_close(biases(corrected)[path], bias, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_shifted_where_the_activation_lets_it_through(name):
    """Which places those are, autograd knows: the gradient of the value behind it is not 0."""
    x = NETWORKS[name].inputs()
    corrected = bias_correction(observed(name).simulate(W3A8), [x])
    exact, ours = (values(m, x) for m in (corrected.captured.module, corrected.graph_module))
    nodes = {n.name: n for n in corrected.captured.module.graph.nodes}
    for node, _, axis in layers(corrected):
        passes = torch.ones_like(exact[node])
        user = next(iter(nodes[node].users))
        if len(nodes[node].users) == 1 and op_name(user) in ("relu", "relu6", "hardtanh"):
            leaf = exact[node].clone().requires_grad_()
            activation = torch.relu if op_name(user) == "relu" else nn.functional.relu6
            activation(leaf).sum().backward()
            passes = leaf.grad
        elif len(nodes[node].users) == 1 and op_name(user) == "add":
            continue  # below, on its own
        count = mean(passes, axis)
        shift = mean((ours[node] - exact[node]) * passes, axis) / count.clamp(min=1e-9)
        assert shift.abs().max() <= bias_step(corrected, node) / 2 + 1e-4, node


def test_behind_a_sum_its_activation_decides():
    torch.manual_seed(1)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return torch.relu(self.conv(x) + x)

    block, x = Block(), torch.randn(32, 4, 6, 6)
    corrected = bias_correction(calibrate(block, x, W3A8), x)
    exact, ours = (values(m, x) for m in (corrected.captured.module, corrected.graph_module))
    passes = (exact["conv2d"] + x > 0).double()
    shift = mean((ours["conv2d"] - exact["conv2d"]) * passes, 1) / mean(passes, 1)
    step = bias_step(corrected, "conv2d")
    assert shift.abs().max() <= step / 2 + 1e-4
    assert mean(ours["conv2d"] - exact["conv2d"], 1).abs().max() > 2 * step


def test_several_batches_give_the_mean_of_all_in_one_pass():
    torch.manual_seed(0)
    x = torch.rand(70, 5)
    sim = calibrate(nn.Sequential(nn.Linear(5, 3)), x, W3A8)
    handed_out = []

    def once():
        for part in (x[:50], x[50:51], x[51:]):
            handed_out.append(len(part))
            yield part, torch.zeros(len(part))

    corrected = bias_correction(sim, once())
    assert handed_out == [50, 1, 19]
    for a, b in zip(
        *(biases(m).values() for m in (corrected, bias_correction(sim, x))), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_same_batches_same_biases_and_the_given_model_stays():
    name = "linear-no-bias"
    sim, x = observed(name).simulate(W3A8), NETWORKS[name].inputs()
    before = copy.deepcopy(sim.state_dict())
    one, other = bias_correction(sim, [x]), bias_correction(sim, [x])
    assert all(
        torch.equal(a, b) for a, b in zip(*(biases(m).values() for m in (one, other)), strict=True)
    )
    assert sim.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in sim.state_dict().items())
    assert not any(p.requires_grad for p in one.parameters())
    assert not one.training


def test_correcting_twice_changes_nothing_more():
    x = NETWORKS["ten-lines"].inputs()
    once = bias_correction(observed("ten-lines").simulate(W3A8), [x])
    twice = bias_correction(once, [x])
    for node, path, _ in layers(once):
        moved = (biases(twice)[path] - biases(once)[path]).abs().max()
        assert moved <= bias_step(once, node) / 2 + 1e-4


@pytest.mark.parametrize("name", ["linear-no-bias", "tied", "conv-twice", "residual-of-input"])
def test_file_and_integer_reference_carry_it(name, tmp_path):
    kept, x = observed(name), NETWORKS[name].inputs()
    sim = kept.simulate(Recipe())
    corrected = bias_correction(sim, [x])
    file = runtimes.load(export(corrected, tmp_path / "net.onnx"))
    got = torch.from_numpy(file.run(x.numpy()))
    assert torch.equal(IntegerReference(corrected)(x), got)
    assert not torch.equal(IntegerReference(sim)(x), got)


@pytest.mark.parametrize("name", ["linear-no-bias", "tied", "ten-lines"])
def test_added_biases_are_written_and_read_back(name, tmp_path):
    x = NETWORKS[name].inputs()
    model = observed(name)
    corrected = bias_correction(model.simulate(W3A8), [x])
    path = checkpoint.save(corrected, tmp_path / "a.safetensors")
    back = checkpoint.load(path, NETWORKS[name].make())
    with torch.no_grad():
        assert torch.equal(back(x), corrected(x))


def test_per_group_and_any_bits():
    x = NETWORKS["linear-only"].inputs()
    recipe = Recipe(Scheme(2, granularity="per_group", group_size=3), Scheme(4))
    sim = observed("linear-only").simulate(recipe)
    corrected = bias_correction(sim, [x])
    exact = values(sim.captured.module, x)["linear"]
    assert (sim(x) - exact).mean(0).abs().max() > 1e-2
    assert (corrected(x) - exact).mean(0).abs().max() < 1e-4


def test_mixed_bits_are_kept():
    x = NETWORKS["linear-no-bias"].inputs()
    sim = observed("linear-no-bias").simulate(W3A8)
    for quantizer in sim.quantizers.values():
        quantizer.scale.mul_(1.5)
    scales = {name: q.scale.clone() for name, q in sim.quantizers.items()}
    for name, quantizer in bias_correction(sim, [x]).quantizers.items():
        assert torch.equal(quantizer.scale, scales[name])


def test_modules_kept_in_float_stay_there():
    x = NETWORKS["linear-no-bias"].inputs()
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 5, bias=False))
    sim = calibrate(model, x, W3A8, keep_float=["2"])
    corrected = bias_correction(sim, [x])
    assert corrected.placement.keep_float == ("2",)
    assert corrected.placement.float_nodes == sim.placement.float_nodes == ("linear_1",)
    assert list(corrected.quantizers) == list(sim.quantizers) == ["input", "0.weight", "0"]


def test_qat_starts_from_it():
    x, y = torch.randn(64, 6), torch.randint(0, 3, (64,))
    sim = bias_correction(calibrate(NETWORKS["linear-no-bias"].make(), x, W3A8), x)
    trained = qat.finetune(sim, [(x, y)], epochs=2, progress=False)
    assert all(bias.abs().sum() > 0 for bias in biases(trained).values())
    with pytest.raises(InvalidInputError, match="correct biases before QAT"):
        bias_correction(trained, x)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "the calibration set is empty"),
        (torch.empty(0, 6), "the calibration set is empty"),
        (torch.full((4, 6), torch.nan), "NaN or Inf"),
        (torch.full((4, 6), torch.inf), "NaN or Inf"),
        ([torch.zeros(4, 7)], "input of shape"),
        ([torch.zeros(4, 6).double()], "float32"),
        (["picture"], "calibration batch 0 is a str"),
        (None, "the calibration set is a NoneType"),
    ],
    ids=["none", "no-pictures", "nan", "inf", "shape", "dtype", "no-tensor", "no-batches"],
)
def test_bad_batches_are_refused(batches, message):
    sim = observed("linear-only").simulate(Recipe())
    with pytest.raises(InvalidInputError, match=message):
        bias_correction(sim, batches)


def test_float_model_is_refused():
    with pytest.raises(InvalidInputError, match=r"got Linear: make one with q\.calibrate"):
        bias_correction(nn.Linear(2, 2), torch.zeros(2, 2))


def test_registry_names_rows_and_functions():
    assert ptq.ROW_NAMES == ("ptq", "ptq-bias-correction")
    x = NETWORKS["linear-only"].inputs()
    for method in ptq.METHODS.values():
        assert "progress" in inspect.signature(method.refine).parameters
        refined = method.refine(observed("linear-only").simulate(Recipe()), [x], progress=False)
        assert refined(x).shape == (len(x), 3)


#: SQNR of the logits [dB] that correction must add on 100 test pictures; 0: at least not less.
GAINS = {
    ("mobilenetv2", "W4A8 per channel"): (Recipe(Scheme(4, granularity="per_channel")), 3.0),
    ("mobilenetv2", "W8A8 per tensor"): (Recipe(Scheme()), 3.0),
    ("mobilenetv2", "W8A8 per channel"): (Recipe(), 0.0),
    ("resnet8", "W8A8 per channel"): (Recipe(), 0.0),
    ("resnet8", "W3A8 per channel"): (W3A8, 3.0),
}


@pytest.fixture(scope="module")
def trained():
    data = zoo.dataset("fashion_mnist")
    x = data.calibration.prepare(data.calibration.images[:48])
    return data, {name: (zoo.load(name), observe(zoo.load(name), x)) for name in zoo.MODELS}, x


@pytest.mark.parametrize("case", GAINS, ids=" ".join)
def test_trained_networks_come_closer_to_float(trained, case):
    data, kept, x = trained
    recipe, gain = GAINS[case]
    model, seen = kept[case[0]]
    sim = seen.simulate(recipe)
    corrected = bias_correction(sim, x)
    test = data.test.prepare(data.test.images[:100])
    with torch.no_grad():
        before, after = (sqnr_db(model(test), m(test)) for m in (sim, corrected))
    assert after >= before + gain
