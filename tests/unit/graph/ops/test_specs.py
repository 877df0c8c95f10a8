"""The records of operators fit each other, the backends that name them and the kernels."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from qutils.graph import TARGETS, capture, place
from qutils.graph.nodes import op_name
from qutils.graph.ops import OPS, clip_range, names
from qutils.integer import KERNELS


@pytest.mark.parametrize("name", TARGETS)
def test_backends_name_operators_that_have_a_record(name):
    target = TARGETS[name]
    assert set(target.operators) <= OPS.keys()
    assert len(set(target.operators)) == len(target.operators)
    parts = (target.weighted, target.products, target.quantized, target.pass_through, target.fused)
    assert set().union(*parts) == set(target.operators)


def test_every_layer_and_product_has_a_kernel_and_what_moves_has_none():
    assert KERNELS.keys() == {name for name, spec in OPS.items() if spec.kernel}
    assert {*names("weighted"), *names("product")} <= KERNELS.keys()
    assert not {*names("pass_through"), *names("fused"), *names("clip")} & KERNELS.keys()


def test_operators_of_a_role_are_listed_once():
    assert names("weighted") == ("conv1d", "conv2d", "conv3d", "linear")
    assert sorted(names("product")) == ["bmm", "matmul", "mm"]
    assert [name for name, spec in OPS.items() if spec.is_fused] == [
        "relu", "relu6", "hardtanh", "clamp"
    ]  # fmt: skip


class Sums(nn.Module):
    def __init__(self, alpha: int) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)
        self.head, self.alpha = nn.Conv2d(2, 2, 1), alpha

    def forward(self, x):
        return self.head(torch.add(self.left(x), self.right(x), alpha=self.alpha))


@pytest.mark.parametrize(("alpha", "integer"), [(1, True), (2, False)])
def test_an_operator_is_integer_only_where_its_record_holds(alpha, integer):
    x = torch.randn(2, 1, 3, 3)
    module = capture(Sums(alpha).eval(), x).module
    adds = [node for node in module.graph.nodes if op_name(node) == "add"]
    placement = place(module, TARGETS["onnxruntime"])
    assert all((node.name not in placement.in_float) is integer for node in adds)


def test_an_operator_that_a_backend_does_not_name_stays_in_float():
    x = torch.randn(2, 1, 3, 3)
    module = capture(Sums(1).eval(), x).module
    target = TARGETS["onnxruntime"]
    fewer = replace(target, operators=tuple(op for op in target.operators if op != "add"))
    assert [*place(module, fewer).in_float.values()] == ["no kernel"]


def test_clips_of_other_operators_are_unknown():
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    ops = torch.ops.aten
    found = [
        clip_range(graph.call_function(op, (x, *args)))
        for op, args in (
            (ops.relu.default, ()),
            (ops.hardtanh.default, ()),
            (ops.clamp.default, (None, 3)),
            (ops.sigmoid.default, ()),
        )
    ]
    assert found == [(0, math.inf), (-1, 1), (-math.inf, 3), (-math.inf, math.inf)]
