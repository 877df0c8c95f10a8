from __future__ import annotations

import pytest
import torch

from qutils.graph.nodes import op_name
from tests.unit.graph.networks import graph_of


def ops(name: str) -> list[str]:
    return [op_name(n) for n in graph_of(name).graph.nodes if n.op == "call_function"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean", ["conv2d", "relu", "adaptive_avg_pool2d", "flatten", "linear"]),
        ("mean-keepdim", ["conv2d", "relu", "adaptive_avg_pool2d", "conv2d"]),
        ("view-batch", ["conv2d", "relu", "flatten", "linear"]),
        ("view-minus-one", ["conv2d", "relu", "reshape", "linear"]),
        ("clamp-min", ["conv2d", "relu", "flatten", "linear"]),
    ],
)
def test_forms_with_integer_kernels(name, expected):
    assert ops(name) == expected


def test_rows_regrouped_by_the_batch_are_not_a_flatten():
    found = [op for op in ops("view-groups-of-rows") if op != "sym_size"]
    assert found == ["reshape", "linear", "relu", "reshape", "linear"]


def test_filters_are_channels_last():
    filters = [p for p in graph_of("ten-lines").parameters() if p.ndim == 4]
    assert filters
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in filters)
