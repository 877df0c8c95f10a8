"""Recurrent layers of any length: traced once, equal to PyTorch's at every other length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qutils as q


class Reads(nn.Module):
    """A recurrent layer between two linear ones."""

    def __init__(self, kind: str, **settings: Any) -> None:
        super().__init__()
        self.enter = nn.Linear(6, 8)
        self.layer = getattr(nn, kind)(8, 5, **settings)
        self.leave = nn.Linear(5 * (2 if settings.get("bidirectional") else 1), 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.layer(self.enter(x))[0])  # type: ignore[no-any-return]


SETTINGS = [
    ("LSTM", {"batch_first": True}),
    ("LSTM", {"batch_first": True, "bidirectional": True, "num_layers": 2}),
    ("GRU", {"batch_first": True, "bidirectional": True, "bias": False}),
    ("RNN", {"batch_first": True, "bidirectional": True, "num_layers": 2}),
    ("RNN", {"batch_first": True, "nonlinearity": "relu", "bias": False}),
]


@pytest.mark.parametrize(("kind", "settings"), SETTINGS, ids=lambda value: str(value))
def test_lengths_that_were_not_calibrated_compute_the_same(
    kind: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = Reads(kind, **settings).eval()
    batches = [{"x": torch.randn(8, length, 6)} for length in (4, 7)]
    sim = q.calibrate(model, batches)
    path = q.export(sim, tmp_path / "net.onnx")
    runtime = q.runtimes.load(path)
    for length in (1, 5, 11):
        x = torch.randn(3, length, 6)
        with torch.no_grad():
            wanted, simulated = model(x), sim(x=x)
        got = runtime.run({"x": x.numpy()})
        assert got.shape == tuple(wanted.shape)
        np.testing.assert_allclose(got, simulated.numpy(), atol=1e-5)
        error = ((simulated - wanted) ** 2).sum() / (wanted**2).sum()
        assert -10 * torch.log10(error) > 25  # dB


def test_training_reaches_the_weights_of_an_open_layer() -> None:
    torch.manual_seed(0)
    batches = [{"x": torch.randn(8, length, 6)} for length in (4, 7)]
    sim = q.calibrate(Reads("LSTM", batch_first=True).eval(), batches)
    sim(x=torch.randn(2, 9, 6)).sum().backward()
    gradients = {name: p.grad for name, p in sim.named_parameters() if "weight_hh" in name}
    assert gradients
    assert all(g is not None and g.abs().sum() > 0 for g in gradients.values())


def test_a_packed_sequence_is_refused_by_name() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LSTM(6, 5, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4, 4]), batch_first=True)
            return self.layer(packed)[1][0][-1]  # type: ignore[no-any-return]

    with pytest.raises(q.errors.UnsupportedError, match="torch.export cannot trace Packed"):
        q.calibrate(Packed().eval(), torch.randn(2, 4, 6))


def test_tensors_of_several_lengths_open_their_axis() -> None:
    torch.manual_seed(0)
    model = Reads("GRU", batch_first=True).eval()
    sim = q.calibrate(model, [torch.randn(8, length, 6) for length in (4, 7)])
    assert sim(torch.randn(2, 11, 6)).shape == (2, 11, 3)
    named = q.calibrate(model, torch.randn(8, 4, 6), dynamic={"x": {1: "steps"}})
    assert named(torch.randn(2, 11, 6)).shape == (2, 11, 3)
