from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.unit.graph.test_attention import captured_ops

SIX = torch.tensor(6.0)
SWISHES = {
    "torch": lambda m, x: F.hardswish(x),
    "product first": lambda m, x: x * (x + 3).clamp(0, 6) / 6,
    "product first, turned": lambda m, x: F.relu6(3 + x) * x * (1 / 6),
    "gate first": lambda m, x: x * (F.relu6(x + 3) / 6),
    "stored numbers": lambda m, x: x * (F.hardtanh(x + SIX / 2, 0, 6) / SIX),
    "slope": lambda m, x: x * (x / 6 + 0.5).clamp(0, 1),
    "module": lambda m, x: x * F.hardsigmoid(x),
}


@pytest.mark.parametrize("function", SWISHES.values(), ids=SWISHES.keys())
def test_a_spelled_out_hard_swish_is_one_operator(function):
    assert captured_ops(function, 8, 8) == ["hardswish"]


def test_a_spelled_out_hard_sigmoid_is_one_operator():
    assert captured_ops(lambda m, x: m.b * (F.relu6(x + 3) / 6), 8, 8) == ["hardsigmoid", "mul"]


OTHERS = {
    "another slope": lambda m, x: x * (x * 0.2 + 0.5).clamp(0, 1),
    "another offset": lambda m, x: x * F.relu6(x + 2) / 6,
    "of another tensor": lambda m, x: m.b * F.relu6(x + 3) / 6,
    "divided by it": lambda m, x: 6 / (F.relu6(x + 3) + 1),
}


@pytest.mark.parametrize("function", OTHERS.values(), ids=OTHERS.keys())
def test_others_stay(function):
    assert not {"hardswish", "hardsigmoid"} & set(captured_ops(function, 8, 8))
