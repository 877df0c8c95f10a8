from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch.fx import GraphModule, Interpreter

from qutils.errors import UnsupportedError
from qutils.graph.nodes import op_name
from qutils.numerics import affine
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate
from qutils.quantize.convert import convert, integer_dtype
from qutils.quantize.simulate import SimulatedModel
from tests.unit.graph.networks import JOINS, NETWORKS, REFUSED, ZOO, observed

PER_CHANNEL = "per_channel"
RECIPES = {
    "W8A8": Recipe(),
    "per-tensor": Recipe(weights=Scheme()),
    "W4A4": Recipe(Scheme(bits=4, granularity=PER_CHANNEL), Scheme(bits=4)),
    "W2A3": Recipe(Scheme(bits=2, granularity=PER_CHANNEL), Scheme(bits=3)),
    "signed": Recipe(activations=Scheme(signed=True), boundary=Scheme(signed=True)),
    "symmetric": Recipe(activations=Scheme(signed=True, symmetric=True)),
    "unsigned-weights": Recipe(Scheme(signed=False, symmetric=False, granularity=PER_CHANNEL)),
}


class Integers(Interpreter):
    """Runs a simulated model and keeps the integers of each activation, in order."""

    def __init__(self, sim: SimulatedModel) -> None:
        super().__init__(sim.graph_module)
        self.kept: list[torch.Tensor] = []

    def run_node(self, n):
        value = super().run_node(n)
        if n.op != "call_module" or n.args[0].op == "get_attr":
            return value
        q = self.module.get_submodule(n.target).qparams()
        self.kept.append(torch.round(value / q.scale) + q.zero_point)
        return value


class Compared(Interpreter):
    """Runs a reference graph on the integers of the simulation; checks each before it goes on.

    The reference operator multiplies by ``1 / scale`` where the simulation divides, and sums may
    run in another order: a value at a tie, and only there, may land one step beside.
    """

    def __init__(self, module: GraphModule, sim: SimulatedModel, expected: list[torch.Tensor]):
        super().__init__(module)
        self.expected = iter(expected)
        joins = [node for node in sim.graph_module.graph.nodes if op_name(node) == "cat"]
        parts = {p.name for join in joins for p in join.all_input_nodes if p.op == "call_function"}
        self.without = parts | sim.placement.shared.keys()  # the simulation rounds none of them

    def run_node(self, n):
        value = super().run_node(n)
        if op_name(n) != "quantize_per_tensor" or n.args[0].name in self.without:
            return value
        expected = next(self.expected)
        apart = value.float() != expected
        steps = self.env[n.args[0]][apart] / n.args[1]
        assert ((value - expected)[apart].abs() == 1).all()
        assert ((steps - steps.floor() - 0.5).abs() < 1e-3).all()
        return expected.to(value.dtype)


@torch.no_grad()
def assert_same_integers(sim: SimulatedModel, x: torch.Tensor) -> None:
    """The reference graph computes the integers of the simulation, layer by layer."""
    simulation = Integers(sim)
    outputs = simulation.run(x)
    assert simulation.kept
    compared = Compared(convert(sim), sim, simulation.kept)
    torch.testing.assert_close(compared.run(x), outputs, rtol=1e-4, atol=1e-5)
    assert next(compared.expected, None) is None


@pytest.mark.parametrize(
    "name",
    [
        *("resnet8", "many-things", "conv-twice", "buffers", "squeeze-excite", "concat"),
        *("raw-and-relu", "zero-pad", "ends-in-relu", "ends-in-flatten", "no-layers"),
        *("pre-activation", "shuffle-unit", "squeeze-expand", "encoder-decoder", "volume"),
        *JOINS,
    ],
)
def test_the_reference_graph_computes_what_the_simulation_does(name):
    sim = observed(name).simulate(Recipe())
    x = {**NETWORKS, **ZOO}[name].inputs(8)
    assert_same_integers(sim, x)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_has_a_reference_graph(recipe):
    sim = observed("ten-lines").simulate(recipe)
    x = NETWORKS["ten-lines"].inputs(8)
    assert_same_integers(sim, x)


@pytest.mark.parametrize("name", ["attention", "hardsigmoid", "hardswish"])
def test_float_operators_stay_between_quantized_ones(name):
    network = REFUSED[name][0]
    x = network.inputs(8)
    sim = calibrate(network.make(), x)
    assert_same_integers(sim, x)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_state_holds_integers_instead_of_float_weights(recipe):
    sim = observed("ten-lines").simulate(recipe)
    state = convert(sim).state_dict()
    weights = {k: v for k, v in state.items() if k.endswith("_integers")}
    assert sorted(v.ndim for v in weights.values()) == [1, 1, 1, 2, 4, 4]
    expected = torch.uint8 if recipe.weights.signed is False else torch.int8
    assert all(v.dtype == (torch.int32 if v.ndim == 1 else expected) for v in weights.values())
    floats = {k: v for k, v in state.items() if v.is_floating_point()}
    assert all(k.endswith("_scale") and v.ndim == 1 for k, v in floats.items())


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_stored_weights_are_those_of_the_quantizers(bits):
    sim = observed("ten-lines").simulate(Recipe(Scheme(bits=bits, granularity=PER_CHANNEL)))
    state = convert(sim).state_dict()
    for name in ("0.weight", "4.weight", "8.weight"):
        values = state[f"{sim.quantizers[name].site.node}_integers"]
        q = sim.quantizers[name].qparams()
        assert torch.equal(values.int(), affine.quantize(sim.graph_module.get_parameter(name), q))
        assert int(values.abs().max()) <= (1 << (bits - 1)) - 1


def test_stored_biases_are_steps_of_the_accumulator():
    sim = observed("ten-lines").simulate(Recipe())
    state = convert(sim).state_dict()
    bias = next(v for v in state.values() if v.dtype == torch.int32 and len(v) == 10)
    scale = sim.quantizers["4"].scale * sim.quantizers["8.weight"].scale
    expected = sim.graph_module.get_parameter("8.bias") / scale
    assert (bias - expected).abs().max() <= 0.51


def test_only_reference_operators_and_float_kernels_remain():
    module = convert(observed("ten-lines").simulate(Recipe()))
    assert not [n for n in module.graph.nodes if n.op == "call_module"]
    ops = {op_name(n) for n in module.graph.nodes if n.op == "call_function"}
    assert ops == {
        *("quantize_per_tensor", "dequantize_per_tensor", "dequantize_per_channel"),
        *("conv2d", "max_pool2d", "flatten", "linear"),  # relu and relu6 went into the ranges
    }


@torch.no_grad()
def test_an_activation_that_the_range_does_not_express_stays():
    sim = observed("ten-lines").simulate(Recipe())
    sim.quantizers["0"].zero_point.fill_(4)
    module, x = convert(sim), NETWORKS["ten-lines"].inputs(8)
    ops = [op_name(n) for n in module.graph.nodes]
    assert (ops.count("relu"), ops.count("hardtanh")) == (1, 0)
    assert_same_integers(sim, x)


@pytest.mark.parametrize("name", ["ten-lines", "resnet8", "slice", "raw-and-relu"])
def test_every_pass_through_is_followed_by_its_inputs_scale(name):
    sim = observed(name).simulate(Recipe())
    nodes = {n.name: n for n in convert(sim).graph.nodes}
    assert sim.placement.shared
    for shared, origin in sim.placement.shared.items():
        (pair,) = nodes[shared].users
        assert op_name(pair) == "quantize_per_tensor"
        site = sim.placement.sites[origin]
        q = sim.quantizers[site.name].qparams()
        assert pair.args[1:3] == (float(q.scale), int(q.zero_point))


def parts_of_the_join(name: str, target: str):
    """The scale of the whole, and the ``dequantize`` of each part."""
    sim = observed(name, target).simulate(Recipe())
    (join,) = [n for n in convert(sim).graph.nodes if op_name(n) == "cat"]
    return float(sim.quantizers["cat"].scale), join.args[0]


@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "litert"])
def test_layers_in_front_of_a_join_round_to_its_grid(target):
    scale, parts = parts_of_the_join("join-of-convolutions", target)
    assert [op_name(part) for part in parts] == ["dequantize_per_tensor"] * 2
    assert [part.args[1] for part in parts] == [scale] * 2
    assert [op_name(part.args[0].args[0]) for part in parts] == ["conv2d"] * 2


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_halves_of_a_tensor_are_joined_on_the_grid_that_it_has_already(target):
    scale, parts = parts_of_the_join("join-of-halves", target)
    sources = [part.args[0] if op_name(part) == "slice" else part for part in parts]
    assert [op_name(source) for source in sources] == ["dequantize_per_tensor"] * 3
    assert [source.args[1] for source in sources] == [scale] * 3


def test_a_runtime_that_follows_moves_needs_no_pair_behind_them():
    sim = observed("join-of-pools", "openvino").simulate(Recipe())
    nodes = {n.name: n for n in convert(sim).graph.nodes}
    assert len(sim.placement.shared) == 4
    readers = {op_name(user) for name in sim.placement.shared for user in nodes[name].users}
    assert readers == {"max_pool2d", "cat", "conv2d", "linear"}


def test_the_simulated_model_is_left_alone():
    sim = observed("ten-lines").simulate(Recipe())
    x = NETWORKS["ten-lines"].inputs(4)
    before, state = sim(x), copy.deepcopy(sim.state_dict())
    convert(sim)
    assert torch.equal(sim(x), before)
    assert sim.state_dict().keys() == state.keys()
    assert all(torch.equal(state[k], v) for k, v in sim.state_dict().items())


def test_per_group_has_no_reference_operators():
    scheme = Scheme(granularity="per_group", group_size=9)
    with pytest.raises(UnsupportedError, match="per_group operators: use per_channel"):
        convert(observed("ten-lines").simulate(Recipe(scheme)))


@pytest.mark.parametrize(
    ("qmin", "qmax", "dtype"),
    [(-128, 127, torch.int8), (-127, 127, torch.int8), (0, 255, torch.uint8), (1, 15, torch.uint8)],
)
def test_integer_dtype(qmin, qmax, dtype):
    q = affine.QParams(torch.tensor(1.0), torch.tensor(0), qmin, qmax)
    assert integer_dtype(q) == dtype


def test_importing_says_nothing():
    command = [sys.executable, "-c", "import qutils.quantize.convert"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
