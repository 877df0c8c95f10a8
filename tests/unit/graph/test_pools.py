"""Pooling, padding and upsampling in the forms that every backend reads alike."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qutils.graph import capture
from qutils.graph.nodes import op_name
from tests.unit.backends.operators import SHAPES, SideBySide

#: What a captured graph may hold of the operators that are rewritten.
FORMS = {
    *("slice", "index_select", "cat", "reshape", "flatten", "unsqueeze", "squeeze"),
    *("constant_pad_nd", "pad", "add", "relu", "linear", "conv1d", "conv2d"),
    *("pixel_shuffle", "permute"),
    *("avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool2d"),
    *("max_pool1d", "max_pool2d", "max_pool3d", "upsample_nearest2d"),
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"),
}


@pytest.mark.parametrize("axes", SHAPES)
@torch.no_grad()
def test_rewritten_operators_compute_the_same_for_any_batch(axes):
    module = SideBySide(axes).eval()
    graph = capture(module, torch.randn(2, *SHAPES[axes])).module
    x = torch.randn(3, *SHAPES[axes])
    wanted, got = module.parts(module(x)), module.parts(graph(x))
    for name, part in wanted.items():
        torch.testing.assert_close(got[name], part, msg=lambda told, name=name: f"{name}: {told}")
    found = {op_name(node) for node in graph.graph.nodes if node.op == "call_function"}
    assert found - FORMS == set()


class Applied(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def forms(function, *shape: int) -> list:
    """Operators and settings of a captured function, without the tensors they read."""
    nodes = capture(Applied(function).eval(), torch.randn(2, *shape)).module.graph.nodes
    return [
        (op_name(n), [a for a in n.args if not isinstance(a, torch.fx.Node)])
        for n in nodes
        if n.op == "call_function"
    ]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: F.avg_pool2d(x, 2, ceil_mode=True), [("avg_pool2d", [[2, 2], [2, 2]])]),
        (lambda x: F.max_pool2d(x, 3, 2, 1), [("max_pool2d", [[3, 3], [2, 2], [1, 1]])]),
        (lambda x: F.adaptive_max_pool2d(x, 4), [("max_pool2d", [[2, 2], [2, 2]])]),
        (
            lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2),
            [("index_select", [2]), ("index_select", [3]), ("max_pool2d", [[3, 3], [2, 2]])],
        ),
        (
            lambda x: F.interpolate(x, scale_factor=(2.0, 3.0)),
            [("upsample_nearest2d", [None, [2.0, 3.0]])],
        ),
        (
            lambda x: F.interpolate(x, scale_factor=0.5),
            [("slice", [2, 0, 7, 2]), ("slice", [3, 0, 7, 2])],
        ),
    ],
    ids=["plain", "padded alike", "even", "SAME", "whole factors", "every other"],
)
def test_the_shortest_form_is_taken(function, expected):
    assert forms(function, 3, 8, 8) == expected


def test_a_maximum_of_nothing_stays_as_it_is():
    """A window that lies in the padding alone has -inf for its maximum."""
    found = forms(lambda x: F.max_pool2d(F.pad(x, (4, 0), value=-torch.inf), 2), 3, 8, 8)
    assert [op for op, _ in found] == ["pad", "max_pool2d"]


def test_a_number_that_values_may_reach_is_no_border_of_a_maximum():
    found = forms(lambda x: F.max_pool2d(F.pad(x, (1, 1), value=-3.0), 2), 3, 8, 8)
    assert [op for op, _ in found] == ["constant_pad_nd", "add", "max_pool2d"]


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (3, 1)])
@torch.no_grad()
def test_an_average_to_more_than_there_is_repeats_values(size):
    """AlexNet averages to 6x6, which small images arrive at as 1x1."""
    module = Applied(lambda x: F.adaptive_avg_pool2d(x, (6, 4))).eval()
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(capture(module, x).module(x), module(x))
