"""The short way to a functional program gives what ``run_decompositions`` gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qutils.graph.attention import DECOMPOSITIONS
from qutils.graph.decompose import decompose

X = torch.randn(2, 4, 8)


class Of(nn.Module):
    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.compute = compute
        self.norm, self.linear = nn.BatchNorm1d(4), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(self.linear(self.norm(x)))


SHORT: dict[str, Callable[[Tensor], Tensor]] = {
    "in place": lambda x: F.relu_(x).add_(1),
    "views": lambda x: x.flatten(1).unflatten(1, (4, 8)).chunk(2, -1)[0].contiguous(),
    "causal attention": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "masked attention": lambda x: F.scaled_dot_product_attention(x, x, x, x[:1, :, :4] > 0),
    "composites": lambda x: F.dropout(F.layer_norm(x, (8,)) @ x.transpose(1, 2), training=False),
}


def exported(compute: Callable[[Tensor], Tensor]) -> torch.export.ExportedProgram:
    return torch.export.export(
        Of(compute).eval(), (X,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    )


@pytest.mark.parametrize("name", SHORT)
def test_it_gives_what_run_decompositions_gives(name, monkeypatch):
    program = exported(SHORT[name])
    expected = program.run_decompositions(DECOMPOSITIONS)
    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", None)
    found = decompose(program)
    assert found.graph_module.code == expected.graph_module.code
    assert str(found.graph_signature) == str(expected.graph_signature)


def test_operators_that_fall_apart_into_others_take_the_long_way(monkeypatch):
    program = exported(lambda x: F.feature_alpha_dropout(x, training=False))
    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", lambda *_: "long")
    assert decompose(program) == "long"
