"""Attention, matrix products and arithmetic with numbers: other operators, the same results."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qutils.errors import UnsupportedError
from qutils.graph import capture
from qutils.graph.nodes import op_name


class Of(nn.Module):
    """A function of the input and of two stored matrices."""

    def __init__(self, function) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(8, 8))
        self.b = nn.Parameter(torch.randn(8))
        self.register_buffer("c", torch.rand(8) + 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def captured_ops(function, *shape: int) -> list[str]:
    """Operators after the capture, once the graph was found to compute the same."""
    torch.manual_seed(0)
    module, x = Of(function).eval(), torch.randn(3, *shape)
    graph = capture(module, x).module
    torch.testing.assert_close(graph(x), module(x), rtol=1e-4, atol=1e-5)
    return [op_name(n) for n in graph.graph.nodes if n.op == "call_function"]


MASK = torch.ones(5, 5).tril().bool()
ATTENTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "boolean": {"attn_mask": MASK},
    "added": {"attn_mask": torch.linspace(-2, 0, 25).reshape(5, 5)},
    "scaled": {"scale": 0.3},
}


@pytest.mark.parametrize("options", ATTENTIONS.values(), ids=ATTENTIONS.keys())
def test_attention_becomes_two_products(options):
    found = captured_ops(
        lambda m, x: F.scaled_dot_product_attention(x, x.flip(1), x * 2, **options), 2, 5, 8
    )
    assert found.count("matmul") == 2
    assert "softmax" in found
    assert "scaled_dot_product_attention" not in found


def test_heads_share_keys_and_values():
    found = captured_ops(
        lambda m, x: F.scaled_dot_product_attention(x, x[:, :2], x[:, 2:], enable_gqa=True), 4, 5, 8
    )
    assert found.count("matmul") == 2


@pytest.mark.parametrize("computed", [True, False])
def test_a_row_without_positions_gives_zero(computed):
    empty = MASK.clone()
    empty[0] = False

    def attend(module, x):
        mask = empty & (x[:, :1] > -9).any() if computed else empty
        return F.scaled_dot_product_attention(x, x, x, attn_mask=mask)

    found = captured_ops(attend, 5, 8)
    assert found[-2:] == ["mul", "matmul"]


def test_a_row_of_minus_infinity_stays_finite():
    mask = torch.zeros(5, 5).masked_fill(~MASK, -torch.inf)
    mask[0] = -torch.inf
    module = Of(lambda m, x: F.scaled_dot_product_attention(x, x, x, attn_mask=mask)).eval()
    x = torch.randn(2, 5, 8)
    assert capture(module, x).module(x).isfinite().all()


def test_a_mask_that_leaves_each_row_a_position_costs_one_sum():
    found = captured_ops(lambda m, x: F.scaled_dot_product_attention(x, x, x, attn_mask=MASK), 5, 8)
    assert found == ["transpose", "matmul", "mul", "add", "softmax", "matmul"]


def test_dropout_that_stays_random_is_refused():
    module = Of(lambda m, x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5)).eval()
    with pytest.raises(UnsupportedError) as error:
        capture(module, torch.randn(2, 5, 8))
    assert str(error.value) == (
        "Attention in module 'scaled_dot_product_attention' stays random in eval mode "
        "(dropout_p=0.5). Write dropout_p=p if self.training else 0.0."
    )


LAYERS = {
    "matmul": lambda m, x: x @ m.w,
    "matmul, rows": lambda m, x: (x.unsqueeze(1) @ m.w).squeeze(1),
    "mm": lambda m, x: torch.mm(x, m.w),
    "addmm": lambda m, x: torch.addmm(m.b, x, m.w),
}


@pytest.mark.parametrize("function", LAYERS.values(), ids=LAYERS.keys())
def test_a_product_with_a_stored_matrix_is_a_linear_layer(function):
    found = captured_ops(function, 8)
    assert found.count("linear") == 1
    assert not {"matmul", "mm", "addmm"} & set(found)


def test_a_matrix_that_others_read_keeps_its_name():
    module = Of(lambda m, x: (x @ m.w) + F.linear(x, m.w)).eval()
    x = torch.randn(3, 8)
    graph = capture(module, x).module
    torch.testing.assert_close(graph(x), module(x), rtol=1e-4, atol=1e-5)


FACTORS = {
    "left": lambda m, x: (x * 0.25) @ x.transpose(1, 2),
    "right": lambda m, x: x @ (0.25 * x).transpose(1, 2),
    "divided": lambda m, x: (x / 3) @ x.transpose(1, 2),
    "both": lambda m, x: (x / 3) @ (x * 2).transpose(1, 2),
}


@pytest.mark.parametrize("function", FACTORS.values(), ids=FACTORS.keys())
def test_factors_are_applied_after_the_product(function):
    found = captured_ops(function, 5, 8)
    product = found.index("matmul")
    assert found[product + 1] == "mul"
    assert "mul" not in found[:product]


def test_a_factor_that_others_read_stays():
    def function(m, x):
        scaled = x * 0.25
        return scaled @ x.transpose(1, 2) + scaled.sum()

    found = captured_ops(function, 5, 8)
    assert found.index("mul") < found.index("matmul")


def test_addend_of_a_batched_product():
    found = captured_ops(lambda m, x: torch.baddbmm(m.c[:5], x, x.transpose(1, 2)), 5, 8)
    assert found[-2:] == ["matmul", "add"]


NUMBERS = {
    "x - 2": (lambda m, x: x - 2, ["add"]),
    "x / 3": (lambda m, x: x / 3, ["mul"]),
    "2 * x": (lambda m, x: 2 * x, ["mul"]),
    "x + 1": (lambda m, x: x + 1, ["add"]),
    "alpha": (lambda m, x: torch.sub(x, 3, alpha=2), ["add"]),
    "x - buffer": (lambda m, x: x - m.c, ["add"]),
    "x / buffer": (lambda m, x: x / m.c, ["mul"]),
    "x / parameter": (lambda m, x: x / m.w, ["div"]),
    "2 - x": (lambda m, x: 2 - x, ["sub"]),
    "x / 0": (lambda m, x: (x / 0).clamp(-1, 1), ["div", "clamp"]),
    "floor": (lambda m, x: torch.div(x, 2, rounding_mode="floor"), ["div"]),
}


@pytest.mark.parametrize(("function", "expected"), NUMBERS.values(), ids=NUMBERS.keys())
def test_numbers_are_added_or_multiplied(function, expected):
    assert captured_ops(function, 8, 8) == expected


def test_one_factor_of_both_operands_is_applied_twice():
    found = captured_ops(lambda m, x: torch.matmul(x * 0.5, (x * 0.5)), 8, 8)
    assert found.count("matmul") == 1

    def squared(m, x):
        y = x * 0.5
        return torch.matmul(y, y)

    captured_ops(squared, 8, 8)


def test_integers_stay_integers():
    module = Of(lambda m, x: F.embedding(1 - (x[:, 0] > 0).long(), m.w)).eval()
    x = torch.randn(3, 8)
    torch.testing.assert_close(capture(module, x).module(x), module(x))


def test_a_bound_that_is_computed_is_no_relu():
    module = Of(lambda m, x: x.clamp(0, x.shape[1])).eval()
    graph = capture(module, torch.rand(3, 5, 4), {"input": {1: "sequence"}}).module
    x = torch.rand(3, 7, 4) * 90
    torch.testing.assert_close(graph(x), module(x))


def test_einsum_repeats_axes_of_size_one():
    captured_ops(lambda m, x: torch.einsum("bd,od->bo", x[:, :1], m.w), 8)


def test_addmm_with_one_bias_for_all_outputs():
    captured_ops(lambda m, x: torch.addmm(m.c[:1], x, m.w), 8)
