import contextlib
import io

import numpy as np
import pytest
import torch
from onnxruntime.quantization.calibrate import HistogramCollector

from qutils.numerics.observers import Statistic, entropy, range_of, rows_of
from qutils.numerics.observers.entropy import BINS, _Windows
from qutils.numerics.schemes import Scheme


def scheme_of(bits: int, symmetric: bool) -> Scheme:
    return Scheme(bits, signed=symmetric, symmetric=symmetric, observer="entropy")


def slow_divergence(histogram: np.ndarray, start: int, stop: int, levels: int) -> float:
    """The definition, bin by bin."""
    p = histogram[start:stop].copy()
    inside = p.copy()
    p[0] += histogram[:start].sum()
    p[-1] += histogram[stop:].sum()
    q = np.zeros_like(p)
    for j in range(levels):
        level = slice(len(p) * j // levels, len(p) * (j + 1) // levels)
        occupied = p[level] > 0
        if occupied.any():
            spread = max(inside[level].sum(), 1e-4 * occupied.sum()) / occupied.sum()
            q[level] = np.where(occupied, spread, 0.0)
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


@pytest.mark.parametrize("levels", [2, 4, 16, 128])
@pytest.mark.parametrize("share", [0.0, 0.6, 0.97], ids=["dense", "gaps", "sparse"])
def test_cumulative_sums_equal_the_definition(levels, share):
    torch.manual_seed(0)
    histogram = torch.randint(1, 100, (2, BINS)).double() * (torch.rand(2, BINS) > share)
    start = torch.tensor([[0, 100, 3000], [0, 7, 1024]])
    stop = torch.tensor([[BINS, 4000, 3257], [4090, 2055, 3072]])
    row = torch.arange(2)[:, None].expand(2, 3).flatten()
    windows = _Windows(histogram)
    found = windows.divergence(row, start.flatten(), stop.flatten(), levels).view(2, 3)
    bound = windows.at_least(torch.arange(2)[:, None], start, stop, levels)
    assert (bound <= found + 1e-12).all()
    for r in range(2):
        for k in range(3):
            window = (int(start[r, k]), int(stop[r, k]))
            expected = slow_divergence(histogram[r].numpy(), *window, levels)
            assert found[r, k].item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("values", [32, 300, 2500])
@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_leaving_windows_out_changes_nothing(monkeypatch, values, symmetric, bits):
    torch.manual_seed(5)
    monkeypatch.setattr(entropy, "PER_LEVEL", 1)
    rows = rows_of(torch.randn(100, values) ** 3, 0)
    quick = range_of(rows, scheme_of(bits, symmetric))
    monkeypatch.setattr(_Windows, "at_least", lambda self, row, start, *_: start * 0.0 - 1.0)
    full = range_of(rows, scheme_of(bits, symmetric))
    assert torch.equal(quick[0], full[0])
    assert torch.equal(quick[1], full[1])


@pytest.mark.parametrize("bits", [5, 6])
@pytest.mark.parametrize("distribution", ["gauss", "laplace"])
def test_close_to_onnxruntime(distribution, bits):
    torch.manual_seed(1)
    laplace = torch.distributions.Laplace(0.0, 1.0)
    x = torch.randn(200_000) if distribution == "gauss" else laplace.sample((200_000,))
    theirs = HistogramCollector("entropy", False, 512, 2**bits, 99.99, "same")
    with contextlib.redirect_stdout(io.StringIO()):
        theirs.collect({"x": [x.numpy()]})
        low, high = theirs.compute_entropy()["x"][:2]
    rows = Statistic().observe(x).rows()
    mine = [end.item() for end in range_of(rows, scheme_of(bits, symmetric=False))]
    assert mine == pytest.approx([float(low), float(high)], rel=0.25)


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])
def test_fewer_bits_clip_more(symmetric):
    torch.manual_seed(2)
    rows = Statistic().observe(torch.randn(300_000)).rows()
    highs = [range_of(rows, scheme_of(bits, symmetric))[1].item() for bits in (2, 4, 6, 8)]
    assert highs == sorted(highs)
    assert 2.0 < highs[0] < highs[-1]


def test_a_spike_at_zero_does_not_matter():
    torch.manual_seed(3)
    x = torch.rand(100_000).square() * 6
    plain = Statistic().observe(x)
    spiked = Statistic().observe(x).observe(torch.zeros(900_000))
    scheme = scheme_of(4, symmetric=False)
    ranges = [range_of(s.rows(), scheme)[1].item() for s in (plain, spiked)]
    assert ranges[0] == pytest.approx(ranges[1], rel=0.02)


@pytest.mark.parametrize(
    ("bits", "symmetric", "enough"),
    [(8, True, 128 * 16), (8, False, 256 * 16), (4, True, 8 * 16), (4, False, 16 * 16)],
)
def test_rows_of_few_values_for_the_levels_keep_their_range(bits, symmetric, enough):
    torch.manual_seed(4)
    for values, keeps in ((1, True), (9, True), (enough - 1, True), (enough, False)):
        rows = rows_of(torch.randn(50, values) ** 3, 0)
        low, high = range_of(rows, scheme_of(bits, symmetric))
        peak = torch.maximum(-rows.low_or_zero, rows.high_or_zero)
        assert torch.equal(torch.maximum(-low, high), peak) == keeps
