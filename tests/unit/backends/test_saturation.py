"""What each runtime's kernels do with pairs beyond 16 bits, on the CPU that runs this test.

Natively that is mostly a CPU with VNNI; ``tools/avx2/shadow.py`` makes it one without.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from qutils.backends.export import export
from qutils.backends.runtimes import RUNTIMES, load
from qutils.backends.shared.cpu import has_vnni
from qutils.backends.shared.overflow import SaturationWarning, overflowing, warn_of_overflow
from qutils.errors import QutilsError
from qutils.integer import IntegerReference
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import observe
from tests.unit.integer.test_saturating import coarse

TARGETS = [name for name, entry in RUNTIMES.items() if entry.installed]
QUICK = ("onnxruntime", "openvino")
compiled = pytest.mark.nightly(reason="seconds each; others compare with the exact reference")
X = torch.rand(4, 6, 8, 8, generator=torch.Generator().manual_seed(0))


def simulated(target: str, safe: bool | str):
    net = nn.Sequential(
        coarse(nn.Conv2d(6, 16, 3)), nn.ReLU(), coarse(nn.Conv2d(16, 16, 3, groups=16)), nn.ReLU(),
        nn.Flatten(), coarse(nn.Linear(256, 8)),
    )  # fmt: skip
    return observe(net, X, target).simulate(Recipe(saturation_safe=safe))


@pytest.mark.parametrize("safe", [False, "auto"])
@pytest.mark.parametrize(
    "target", [pytest.param(t, marks=[] if t in QUICK else compiled) for t in TARGETS]
)
def test_it_computes_what_its_record_says_of_this_cpu(target, safe, tmp_path):
    """``exact=False`` takes ONNX Runtime's default session, which the record is about."""
    sim = simulated(target, safe)
    path = export(sim, tmp_path / f"net{RUNTIMES[target].suffix}")
    got = torch.from_numpy(load(path, target, exact=False).run(X.numpy()))
    here = "vnni" if has_vnni() else "avx2"
    exact, expected = (IntegerReference(sim, instructions=i)(X) for i in ("vnni", here))
    step = float(exact.abs().max()) / 100
    assert (got - expected).abs().max() <= step  # some round a value at a tie to the other side
    saturates = here == "avx2" and RUNTIMES[target].target.pair_sums.can_saturate
    protected = sim.recipe.saturation_safe
    assert bool((got - exact).abs().max() > 10 * step) is (saturates and not protected)


@pytest.mark.parametrize("target", [t for t in ("openvino", "inductor") if t in TARGETS])
def test_files_that_may_saturate_are_named_where_they_would(target, tmp_path, monkeypatch):
    module = RUNTIMES[target].get().__module__
    monkeypatch.setattr(f"{module}.saturates", lambda: True)
    path = tmp_path / f"net{RUNTIMES[target].suffix}"
    export(simulated(target, False), path)
    with pytest.warns(SaturationWarning, match=r"the weights of 2 layers are large enough"):
        load(path, target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(path, target, exact=False)  # asked for
        load(export(simulated(target, "auto"), path), target)


def test_the_advice_of_the_warning_works(tmp_path):
    """It names the argument that makes the weights of a layer fit."""
    from qutils.quantize.convert import convert

    wide, narrow = (simulated("onnxruntime", safe) for safe in (False, True))
    for sim, count in ((wide, 2), (narrow, 0)):
        stored = [b.numpy() for n, b in convert(sim).named_buffers() if b.dtype == torch.int8]
        groups = [16 if w.shape[1:] == (1, 3, 3) else 1 for w in stored]
        assert len(list(overflowing(zip("abc", stored, groups, strict=True)))) == count


def test_depthwise_layers_are_not_counted(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_overflow(tmp_path, "x", [("depthwise", np.full((4, 1, 3, 3), 127, np.int8), 4)])
    with pytest.raises(QutilsError, match="closest|openvino"):
        load(tmp_path / "net.onnx", "openvin")
