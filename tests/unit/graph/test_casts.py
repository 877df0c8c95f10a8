"""Casts to a value's own type compute nothing, and assertions about types read nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qutils.graph import capture
from qutils.graph.nodes import op_name
from qutils.quantize.calibration import calibrate


class Residual(nn.Module):
    """A residual stream that a norm reads as transformers write it, cast to float32 and back."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.ones(6))

    def norm(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (self.scale * normed.type_as(x)).to(torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.first(self.norm(x))
        return y + self.second(self.norm(y))


def test_idle_casts_leave_no_node():
    module = capture(Residual(), torch.randn(3, 6)).module
    found = {op_name(node) for node in module.graph.nodes}
    assert not found & {"_assert_tensor_metadata", "_to_copy", "type_as", "to"}


def test_an_assertion_does_not_round_the_residual_stream():
    sim = calibrate(Residual(), [torch.randn(8, 6)])
    adds = {n.name for n in sim.captured.module.graph.nodes if op_name(n) == "add"}
    assert adds
    assert not adds & {q.site.node for q in sim.quantizers.values()}


def test_a_cast_that_changes_the_type_stays():
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor, shift: Tensor) -> Tensor:
            return self.layer(x) + shift.to(torch.float32)

    model, x = Positions().eval(), {"x": torch.randn(3, 4), "shift": torch.ones(3, 4).long()}
    module = capture(model, x).module
    assert "_to_copy" in {op_name(node) for node in module.graph.nodes}
    torch.testing.assert_close(module(*x.values()), model(**x))
