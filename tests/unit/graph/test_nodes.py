from __future__ import annotations

import math

import pytest
import torch
from torch.fx import Graph

from qutils.graph.nodes import op_name
from qutils.graph.ops import clip_range

aten = torch.ops.aten


@pytest.mark.parametrize(
    ("op", "args", "kwargs", "expected"),
    [
        (aten.relu.default, (), {}, (0, math.inf)),
        (aten.relu6.default, (), {}, (0, 6)),
        (aten.hardtanh.default, (), {}, (-1, 1)),
        (aten.hardtanh.default, (0.0, 6.0), {}, (0, 6)),
        (aten.clamp.default, (0,), {}, (0, math.inf)),
        (aten.clamp.default, (None, 2.5), {}, (-math.inf, 2.5)),
        (aten.clamp.default, (), {"min": 0, "max": 3}, (0, 3)),
        (aten.clamp_min.default, (0,), {}, (0, math.inf)),
        (aten.sigmoid.default, (), {}, (-math.inf, math.inf)),
    ],
)
def test_clip_range(op, args, kwargs, expected):
    graph = Graph()
    x = graph.placeholder("x")
    assert clip_range(graph.call_function(op, (x, *args), kwargs)) == expected


def test_clip_by_a_tensor_is_unknown():
    graph = Graph()
    x, low = graph.placeholder("x"), graph.placeholder("low")
    assert clip_range(graph.call_function(aten.clamp.Tensor, (x, low))) == (-math.inf, math.inf)


def test_op_name_ignores_namespace_and_overload():
    graph = Graph()
    x = graph.placeholder("x")
    assert op_name(x) == ""
    assert op_name(graph.call_function(aten.add.Tensor, (x, x))) == "add"
