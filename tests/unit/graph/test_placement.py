from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph import TARGETS, Placement, capture, place
from qutils.graph.nodes import op_name
from tests.unit.graph.networks import REFUSED, ZOO, graph_of, observed
from tests.unit.graph.networks.base import conv

ORT = TARGETS["onnxruntime"]


def roles(placement: Placement) -> dict[str, int]:
    return dict(Counter(site.role for site in placement.sites.values()))


def names(placement: Placement, role: str = "activation") -> list[str]:
    return [site.name for site in placement.sites.values() if site.role == role]


# ResNet8: input; 9 convs + 1 linear; 9 conv outputs + 3 sums + 1 pool, logits stay float.
# MobileNetV2: input; 19 convs + 1 linear; 19 conv outputs + 2 sums + 1 pool.
@pytest.mark.parametrize(
    ("name", "weights", "activations"), [("resnet8", 10, 13), ("mobilenetv2", 20, 22)]
)
def test_sites_of_the_zoo(name, weights, activations):
    placement = observed(name).placement
    assert roles(placement) == {"boundary": 1, "weight": weights, "activation": activations}
    assert len(placement.biases) == weights
    assert placement.float_nodes == ()
    assert len({site.name for site in placement.sites.values()}) == len(placement.sites)


def test_sites_have_names_people_recognize():
    placement = observed("resnet8").placement
    assert names(placement, "boundary") == ["input"]
    assert names(placement, "weight")[:2] == ["stem.0.weight", "stage1.conv1.weight"]
    assert names(placement) == [
        *("stem.0", "stage1.conv1", "stage1.conv2", "stage1"),
        *("stage2.conv1", "stage2.conv2", "stage2.shortcut", "stage2"),
        *("stage3.conv1", "stage3.conv2", "stage3.shortcut", "stage3", "pool"),
    ]


def test_relu_is_absorbed():
    module = graph_of("ten-lines")
    placement = place(module, ORT)
    quantized = {n.name: op_name(n) for n in module.graph.nodes if n.name in placement.sites}
    assert [op for op in quantized.values() if op] == ["relu", "hardtanh"]  # no conv2d


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("ten-lines", ["max_pool2d", "flatten"]),
        ("max-pool-relu", ["max_pool2d", "flatten"]),
        ("shuffle-unit", ["slice", "slice", "relu", "reshape", "transpose", "flatten"]),
        ("zero-pad", ["pad", "flatten"]),
        ("slice", ["slice", "slice", "flatten"]),
        ("raw-and-relu", ["relu", "flatten"]),
    ],
)
def test_pass_through_keeps_the_scale_of_its_input(name, shared):
    module = graph_of(name)
    placement = place(module, ORT)
    nodes = {node.name: node for node in module.graph.nodes}
    assert [op_name(nodes[n]) for n in placement.shared] == shared
    assert not placement.shared.keys() & placement.sites.keys()
    assert all(origin in placement.sites for origin in placement.shared.values())


@pytest.mark.parametrize(
    ("name", "op"),
    [
        ("residual-of-input", "add"),
        ("x-plus-x", "add"),
        ("parameter-added", "add"),
        ("layer-scale", "mul"),
        ("number-times", "mul"),
        ("squeeze-excite", "mul"),
    ],
)
def test_every_operand_of_a_quantized_op_is_quantized(name, op):
    module = graph_of(name)
    placement = place(module, ORT)
    node = next(n for n in module.graph.nodes if op_name(n) == op)
    for operand in node.all_input_nodes:
        assert placement.shared.get(operand.name, operand.name) in placement.sites


@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "litert"])
def test_what_only_a_join_reads_is_rounded_to_the_grid_of_the_whole(target):
    placement = observed("join-of-convolutions", target).placement
    assert names(placement)[:3] == ["stem", "cat", "out"]  # neither of the layers in between
    assert names(placement, "weight") == [
        *("stem.weight", "one.weight", "other.weight", "out.weight", "head.weight")
    ]
    assert [bias.input for bias in placement.biases] == ["input", "stem", "stem", "cat", "out"]


def test_what_a_join_reads_beside_others_keeps_a_grid_of_its_own():
    module = graph_of("concat")  # of a layer with its ReLU, the network's input, and a layer
    placement = place(module, ORT)
    cat = next(n for n in module.graph.nodes if op_name(n) == "cat")
    assert [part.name in placement.sites for part in cat.args[0]] == [True, True, False]
    assert names(placement) == ["conv", "cat"]


def test_parts_that_pooling_makes_of_one_tensor_are_joined_on_its_grid():
    module = graph_of("join-of-pools")
    placement = place(module, ORT)
    moved = {"max_pool2d": "relu", "max_pool2d_1": "relu", "cat": "relu"}
    assert placement.shared == {**moved, "flatten_using_ints": "relu_1"}
    assert names(placement) == ["stem", "out"]
    assert placement.biases[1].input == "stem"


@pytest.mark.parametrize(
    ("target", "sites"),
    [("openvino", ["1_2", "3_2", "4"]), ("onnxruntime", ["0", "1", "1_2", "2", "3", "3_2", "4"])],
)
def test_a_kernel_that_takes_silu_in_leaves_no_site_between_layer_and_product(target, sites):
    assert names(observed("silu", target).placement) == sites


class Gated(nn.Module):
    """A product with a gate that no kernel takes in: the gate, or the layer, is read elsewhere."""

    def __init__(self, beside: str):
        super().__init__()
        self.conv, self.beside = conv(), beside

    def forward(self, x):
        y = self.conv(x)
        gate = torch.sigmoid(y)
        return y * gate + {"gate": gate, "layer": y}[self.beside]


@pytest.mark.parametrize("beside", ["gate", "layer"])
def test_a_gate_with_other_readers_is_rounded(beside):
    module = capture(Gated(beside), torch.randn(2, 3, 8, 8)).module
    placement = place(module, TARGETS["openvino"])
    assert names(placement) == ["conv", "sigmoid", "mul", "add"]


def test_a_parameter_that_is_added_is_an_activation():
    assert "p" in names(observed("parameter-added").placement)


def test_a_shared_weight_has_one_site_and_a_bias_for_each_use():
    placement = observed("conv-twice").placement
    assert names(placement, "weight") == ["conv.weight"]
    assert names(placement) == ["conv", "conv_2"]
    assert [bias.weight for bias in placement.biases] == ["conv.weight", "conv.weight"]


def test_sites_know_what_an_absorbed_activation_lets_through():
    ceilings = {s.name: s.ceiling for s in observed("ten-lines").placement.sites.values()}
    assert ceilings["4"] == 6
    assert {value for name, value in ceilings.items() if name != "4"} == {math.inf}


def test_biases_know_the_scales_they_are_made_of():
    inputs = [(b.input, b.weight) for b in observed("ten-lines").placement.biases]
    assert inputs == [("input", "0.weight"), ("0", "4.weight"), ("4", "8.weight")]


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("ten-lines", None),
        ("linear-only", None),
        ("linear-3d-ending", None),
        ("ends-in-relu", "0"),
        ("ends-in-conv", "2"),
        ("ends-in-flatten", "2"),
        ("ends-in-add", "add"),
    ],
)
def test_only_a_linear_layer_has_a_kernel_with_float_output(name, last):
    module = graph_of(name)
    placement = place(module, ORT)
    output = next(n for n in module.graph.nodes if n.op == "output").args[0]
    site = placement.sites.get(placement.shared.get(output.name, output.name))
    assert (site.name if site else None) == last


def test_a_target_may_quantize_the_output():
    placement = place(graph_of("linear-only"), replace(ORT, quantize_output=True))
    assert len(names(placement)) == 1


@pytest.mark.parametrize("name", REFUSED)
def test_operators_without_kernel_are_named_with_their_module(name):
    spoken = REFUSED[name][1]
    message = rf"{spoken}.* (has|have) no integer kernel on onnxruntime\. .*strict=True"
    with pytest.raises(UnsupportedError, match=message):
        place(graph_of(name), ORT, strict=True)


@pytest.mark.parametrize("name", REFUSED)
def test_operators_without_kernel_stay_in_float(name):
    module = graph_of(name)
    placement = place(module, ORT)
    assert "no kernel" in placement.in_float.values()
    nodes = {node.name: node for node in module.graph.nodes}
    sited = {n for n in placement.float_nodes if n in placement.sites}
    assert sited == {n for n in placement.float_nodes if integers_read(nodes[n], placement)}


def integers_read(node, placement):
    """Whether an integer kernel reads the value, perhaps behind operators that pass it on."""
    readers = [user for user in node.users if user.op == "call_function"]
    return any(
        integers_read(user, placement)
        if user.name in placement.shared
        else user.name not in placement.float_nodes
        for user in readers
    )


class Halves(nn.Module):
    """Two convolutions, and a head whose layers have kernels but may stay in float."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Sigmoid(), nn.Flatten())
        self.header = nn.Linear(64, 2)

    def forward(self, x):
        return self.header(self.head(self.body(x)))


def test_modules_that_are_kept_stay_in_float_and_round_only_what_kernels_read():
    module = capture(Halves(), torch.randn(2, 3, 8, 8)).module
    placement = place(module, ORT, keep_float=["head"])
    assert placement.keep_float == ("head",)
    assert placement.float_nodes == ("conv2d_2", "sigmoid")
    assert names(placement) == ["body.0", "body.2", "head.1"]
    assert names(placement, "weight") == ["body.0.weight", "body.2.weight", "header.weight"]
    assert [bias.consumer for bias in placement.biases] == ["conv2d", "conv2d_1", "linear"]
    whole = place(module, ORT, keep_float=["head", "header"])
    assert names(whole)[-1] == "body.2"  # nothing behind it is read by a kernel


def test_a_layer_that_hands_out_float_is_not_rounded_for_a_module_kept_in_float():
    module = capture(Halves(), torch.randn(2, 3, 8, 8)).module
    placement = place(module, TARGETS["openvino"], keep_float=["head", "header"])
    assert names(placement) == ["body.0"]  # "body.2" has a kernel with float output there
    assert names(placement, "weight") == ["body.0.weight", "body.2.weight"]


def test_a_module_to_keep_that_no_operator_came_from_is_refused():
    module = capture(Halves(), torch.randn(2, 3, 8, 8)).module
    with pytest.raises(InvalidInputError, match=r"unknown module 'haed': did you mean 'head'"):
        place(module, ORT, keep_float=["haed"])


@pytest.mark.parametrize("ending", [nn.LogSoftmax(1), nn.Softmax(1)], ids=["log", "plain"])
def test_probabilities_at_the_end_are_taken_of_float_logits(ending):
    model = nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10), ending)
    placement = place(capture(model, torch.randn(2, 3, 8, 8)).module, ORT)
    assert placement.float_nodes in {("log_softmax",), ("softmax",)}
    assert names(placement) == ["0"]


@pytest.mark.parametrize("name", ZOO)
def test_strict_changes_nothing_where_all_is_integer(name):
    module = graph_of(name)
    assert place(module, ORT, strict=True) == place(module, ORT)


def test_all_operators_without_kernel_are_named_at_once():
    module = capture(nn.Sequential(nn.GELU(), nn.Linear(8, 8), nn.Mish()), torch.randn(2, 8)).module
    with pytest.raises(UnsupportedError, match=r"aten\.gelu .*, aten\.mish .* have no integer"):
        place(module, ORT, strict=True)
