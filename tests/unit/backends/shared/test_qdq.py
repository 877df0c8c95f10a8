"""Inner tensors of a QDQ file: all activations, in order, and nothing changes by looking."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.backends.shared.qdq import with_taps
from qutils.numerics import affine
from qutils.quantize.calibration import calibrate


def test_taps_are_the_activations_and_looking_changes_nothing(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    x = torch.randn(16, 1, 8, 8)
    sim = calibrate(model, x)
    path = export(sim, tmp_path / "net.onnx")
    before = path.read_bytes()
    _, taps = with_taps(path)
    assert path.read_bytes() == before
    q = sim.quantizers["input"].qparams()
    assert (taps[0].scale, taps[0].zero_point) == (float(q.scale), int(q.zero_point))

    runtime = runtimes.load(path)
    logits = runtime.run(x.numpy())
    inner = runtime.inner(x.numpy())
    assert np.array_equal(inner[0].integers, affine.quantize(x, q).numpy())
    assert inner[1].integers.shape == (16, 4, 6, 6)
    assert np.array_equal(runtime.run(x.numpy()), logits)
