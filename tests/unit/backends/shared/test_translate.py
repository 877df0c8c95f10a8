from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qutils as q
from qutils.evaluate.analysis.sqnr import sqnr_db


class Masked(nn.Module):
    """A layer on the values between 0 and 1, or below -1."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        inside = (x > 0) & (x < 1)
        return self.layer(x * (inside | (x < -1)).float())


class Normalized(nn.Module):
    """A layer on what is normalized twice: with a weight and an epsilon, and without."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.RMSNorm(6, eps=1e-3), nn.Linear(6, 4)
        nn.init.uniform_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(F.rms_norm(self.norm(x), (6,)))


@pytest.mark.filterwarnings("ignore:Only")
@pytest.mark.parametrize("make", [Masked, Normalized])
def test_it_is_translated_without_tracing_again(
    make: type[nn.Module], tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def traced_again(*_: object, **__: object) -> None:
        raise AssertionError("torch.onnx.export was called")

    monkeypatch.setattr(torch.onnx, "export", traced_again)
    torch.manual_seed(0)
    model, x = make().eval(), torch.randn(32, 6)
    path = q.export(q.calibrate(model, x), tmp_path / "masked.onnx")
    outputs = torch.from_numpy(q.runtimes.load(path).run(x.numpy()))
    with torch.no_grad():
        assert sqnr_db(model(x), outputs) > 30
