from __future__ import annotations

import torch
from torch import nn

from qutils.lab.studies.coverage.norms import settle


def test_statistics_are_those_of_what_the_layer_sees() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.BatchNorm1d(8))
    x = 5 + 3 * torch.randn(64, 4)
    settle(model, x)
    assert not any(module.training for module in model.modules())
    with torch.no_grad():
        y = model(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(y.std(0), torch.ones(8), atol=2e-2, rtol=0)
    assert model[1].momentum == 0.1


def test_branches_that_start_at_zero_are_woken() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
            self.scale = nn.Parameter(torch.full((4,), 1e-6))
            nn.init.zeros_(self.layer.weight)
            nn.init.zeros_(self.norm.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.scale * self.norm(self.layer(x))

    torch.manual_seed(0)
    model, x = Branch(), torch.randn(32, 4)
    settle(model, x)
    with torch.no_grad():
        assert (model(x) - x).std() > 1e-3
    assert (model.norm.bias == 0).all()
    assert (model.scale > 0.01).all()
