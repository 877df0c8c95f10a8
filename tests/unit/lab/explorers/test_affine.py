from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from qutils.lab.explorers.affine import REACH, AffineExplorer
from qutils.numerics.observers import rows_of
from qutils.numerics.schemes import MAX_BITS, MIN_BITS


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    bell = torch.randn(2_000, generator=torch.Generator().manual_seed(1))
    outlier = bell.clone()
    outlier[0] = 12.0
    return {"bell": bell, "relu": bell.relu(), "outlier": outlier}


@pytest.fixture(scope="module")
def explorer(tensors) -> AffineExplorer:
    return AffineExplorer({name: rows_of(x) for name, x in tensors.items()})


@pytest.mark.parametrize("reach", [20, 55, 100])
@pytest.mark.parametrize("mapping", ["affine", "symmetric"])
@pytest.mark.parametrize("tensor", ["bell", "relu", "outlier"])
def test_numbers_are_those_of_torch(explorer, tensors, tensor, mapping, reach):
    x = tensors[tensor]
    for bits in (2, 4, 8):
        numbers = explorer.view(tensor=tensor, bits=bits, mapping=mapping, reach=reach).numbers
        qmin = 0 if mapping == "affine" else 1 - 2 ** (bits - 1)
        qmax = 2**bits - 1 if mapping == "affine" else -qmin
        low, high = reach / 100 * x.min().clamp(max=0), reach / 100 * x.max().clamp(min=0)
        if mapping == "symmetric":
            high = torch.maximum(-low, high)
            low = -high
        scale = float(high - low) / (qmax - qmin)
        zero_point = round(qmin - float(low) / scale)
        assert numbers["scale"] == pytest.approx(scale, rel=1e-6)
        assert numbers["zero_point"] == zero_point
        assert numbers["low"] == pytest.approx(scale * (qmin - zero_point), rel=1e-6, abs=1e-9)
        assert numbers["high"] == pytest.approx(scale * (qmax - zero_point), rel=1e-6)
        y = torch.fake_quantize_per_tensor_affine(x, numbers["scale"], zero_point, qmin, qmax)
        noise = (y - x).double().square()
        sqnr = 10 * torch.log10(x.double().square().sum() / noise.sum())
        assert numbers["sqnr_db"] == pytest.approx(float(sqnr), abs=1e-3)
        integers = torch.round(x / numbers["scale"]) + zero_point
        outside = (integers < qmin) | (integers > qmax)
        assert numbers["clipped"] == pytest.approx(100 * float(outside.double().mean()))
        share = 100 * float(noise[outside].sum() / noise.sum())
        assert numbers["clipping_share"] == pytest.approx(share, abs=1e-3)


def test_the_note_points_to_the_least_error_for_the_reason_that_holds(explorer):
    said = set()
    widths = range(MIN_BITS, MAX_BITS + 1)
    for tensor, bits, mapping in product(explorer.tensors, widths, ("affine", "symmetric")):
        settings = [{"tensor": tensor, "bits": bits, "mapping": mapping, "reach": r} for r in REACH]
        views = [explorer.view(**setting) for setting in settings]
        best = int(np.argmax([view.numbers["sqnr_db"] for view in views]))
        for at, view in enumerate(views):
            assert f"lies at {REACH[best]} % of the range" in view.note, settings[at]
            data = view.data
            clips_less = data.clipping[at] - data.clipping[best]
            rounds_less = data.rounding[at] - data.rounding[best]
            if "Reach further" in view.note:
                assert at < best, settings[at]
                assert clips_less > max(0, rounds_less), settings[at]
            elif "Reach less far" in view.note:
                assert at > best, settings[at]
                assert rounds_less > max(0, clips_less), settings[at]
            else:
                assert ("where you are" in view.note) == (at == best), settings[at]
            said.add(view.note.partition("range. ")[2][:12])
    assert len(said) >= 3


def test_what_is_drawn_is_the_error_of_the_mapping(explorer):
    data = explorer.view(bits=3).data
    inside = (data.x >= data.levels[0]) & (data.x <= data.levels[-1])
    nearest = np.abs(data.x[:, None] - data.levels).min(axis=1)
    assert np.allclose(np.abs(data.error), nearest, atol=1e-5)
    assert np.abs(data.error[inside]).max() <= np.diff(data.levels).max() / 2 + 1e-6
    assert data.counts.sum() == 2_000
