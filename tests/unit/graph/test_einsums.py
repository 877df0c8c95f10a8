from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import qutils as q
from qutils.graph import capture
from qutils.graph.nodes import op_name


class Einsum(nn.Module):
    """One equation of the input ``[N, 2, 5, 6]`` with itself or with a parameter."""

    def __init__(self, equation: str, parameter: tuple[int, ...] | None, first: bool) -> None:
        super().__init__()
        self.equation, self.first = equation, first
        self.parameter = None if parameter is None else nn.Parameter(torch.randn(parameter))

    def forward(self, x: Tensor) -> Tensor:
        other = x if self.parameter is None else self.parameter
        return torch.einsum(self.equation, *((other, x) if self.first else (x, other)))


@pytest.mark.parametrize(
    ("equation", "parameter", "first", "becomes"),
    [
        ("nhqd,nhkd->nhqk", None, False, "matmul"),
        ("nhqd,nhqe->nhde", None, False, "matmul"),
        ("nhqd, nhkd -> nkhq", None, False, "matmul"),
        ("nhqd,ed->nhqe", (4, 6), False, "linear"),
        ("nhqd,de->enhq", (6, 4), False, "linear"),
        ("eq,nhqd->nhed", (4, 5), True, "linear"),
        ("nhqd,hde->nhqe", (2, 6, 4), False, "einsum"),  # a matrix for each head
        ("nhqd,qd->nhqd", (5, 6), False, "einsum"),  # a product of elements
        ("nhqd,hd->nq", (2, 6), False, "einsum"),  # two sums
        ("nhqd,d->nhq", (6,), False, "einsum"),
        ("...qd,ed->...qe", (4, 6), False, "einsum"),
    ],
)
def test_einsums_become_what_they_are(
    equation: str, parameter: tuple[int, ...] | None, first: bool, becomes: str
) -> None:
    torch.manual_seed(0)
    model, x = Einsum(equation, parameter, first), torch.randn(3, 2, 5, 6)
    module = capture(model, x).module
    ops = [op_name(node) for node in module.graph.nodes]
    assert [op for op in ops if op in ("matmul", "linear", "einsum")] == [becomes]
    torch.testing.assert_close(module(x), model(x))


def test_einsums_that_stay_count_as_float_multiply_adds() -> None:
    torch.manual_seed(0)
    sim = q.calibrate(Einsum("nhqd,hde->nhqe", (2, 6, 4), False), torch.randn(2, 2, 5, 6))
    assert sim.coverage.share == 0
    assert sim.coverage.multiply_adds == 2 * (2 * 5 * 6 * 4)
