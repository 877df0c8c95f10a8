"""The rules by hand, at a tie where they part."""

from __future__ import annotations

import pytest
import torch

from qutils.integer import RULES
from qutils.numerics.exact.values import Accumulator, Grid


def rounded(rule: str, acc: list[int], scale_x: float, scale_w: float, scale_y: float) -> list[int]:
    value = Accumulator(
        None, None, torch.tensor([acc], dtype=torch.int32), torch.tensor(scale_x),
        torch.tensor(scale_w), 1,
    )  # fmt: skip
    grid = Grid(torch.tensor(scale_y), torch.tensor(0), -128, 127)
    return RULES[rule](value, grid)[0].tolist()


@pytest.mark.parametrize("rule", RULES)
def test_far_from_a_tie_all_agree(rule):
    assert rounded(rule, [104, -37, 9000, -9000], 0.5, 0.5, 2.0) == [13, -5, 127, -128]


def test_halves_go_to_even_or_up():
    ties = [4, 12, -4, -12]  # 0.5, 1.5, -0.5, -1.5
    assert rounded("one float32 multiplier, halves to even", ties, 0.5, 0.5, 2.0) == [0, 2, 0, -2]
    assert rounded("31-bit multiplier, rounded once, halves up", ties, 0.5, 0.5, 2.0) == [
        1, 2, 0, -1,
    ]  # fmt: skip
    assert rounded("31-bit multiplier, rounded twice", ties, 0.5, 0.5, 2.0) == [1, 2, -1, -2]


def test_a_channel_has_its_own_scale():
    acc = torch.tensor([[[10, 10], [10, 10]]], dtype=torch.int32)  # [N, O, L]
    value = Accumulator(None, None, acc, torch.tensor(1.0), torch.tensor([1.0, 0.5]), 1)
    grid = Grid(torch.tensor(1.0), torch.tensor(3), -128, 127)
    for rule in RULES.values():
        assert rule(value, grid).tolist() == [[[13, 13], [8, 8]]]
