from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

from qutils.errors import UnsupportedError
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
        ("concat", "cat"),
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
    message = f"{spoken}.* (has|have) no integer kernel on onnxruntime: .*allow_float=True"
    with pytest.raises(UnsupportedError, match=message):
        place(graph_of(name), ORT)


@pytest.mark.parametrize("name", REFUSED)
def test_allow_float_keeps_them_in_float(name):
    module = graph_of(name)
    placement = place(module, ORT, allow_float=True)
    assert placement.float_nodes
    last = next(n for n in module.graph.nodes if n.op == "output").args[0].name
    unread = {last} & set(placement.float_nodes)  # what follows the others reads integers
    assert set(placement.float_nodes) - placement.sites.keys() == unread


@pytest.mark.parametrize("ending", [nn.LogSoftmax(1), nn.Softmax(1)], ids=["log", "plain"])
def test_probabilities_at_the_end_are_taken_of_float_logits(ending):
    model = nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10), ending)
    placement = place(capture(model, torch.randn(2, 3, 8, 8)).module, ORT)
    assert placement.float_nodes in {("log_softmax",), ("softmax",)}
    assert names(placement) == ["0"]


@pytest.mark.parametrize("name", ZOO)
def test_allow_float_changes_nothing_where_it_is_not_needed(name):
    module = graph_of(name)
    assert place(module, ORT, allow_float=True) == place(module, ORT)


def test_all_operators_without_kernel_are_named_at_once():
    module = graph_of("attention")
    with pytest.raises(
        UnsupportedError, match=r"aten\.matmul .*, aten\.softmax .* have no integer"
    ):
        place(module, ORT)
