import pytest
import torch
from torch.ao.quantization import HistogramObserver

from qutils.numerics import affine
from qutils.numerics.observers import Rows, Statistic, qparams_of, range_of, rows_of
from qutils.numerics.observers.mse import AROUND, COARSE, STEPS, squared_error
from qutils.numerics.schemes import Scheme

every_symmetry = pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])
DISTRIBUTIONS = {
    "gauss": lambda: torch.randn(4_000),
    "relu": lambda: torch.randn(4_000).relu(),
    "laplace": lambda: torch.distributions.Laplace(0.0, 1.0).sample((4_000,)),
    "shifted": lambda: torch.randn(4_000) + 1.5,
    "lognormal": lambda: torch.randn(4_000).exp(),
    "uniform": lambda: torch.rand(4_000),
}
every_distribution = pytest.mark.parametrize("distribution", DISTRIBUTIONS)


def draw(distribution: str) -> torch.Tensor:
    torch.manual_seed(0)
    return DISTRIBUTIONS[distribution]()


def scheme_of(observer: str, bits: int, symmetric: bool) -> Scheme:
    return Scheme(bits, signed=symmetric, symmetric=symmetric, observer=observer)


def error_of(x: torch.Tensor, q: affine.QParams) -> float:
    return (affine.fake_quantize(x, q) - x).double().square().mean().item()


@every_distribution
@every_symmetry
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_never_worse_than_minmax(distribution, symmetric, bits):
    x = draw(distribution)
    for rows, slack in ((rows_of(x), 1.0), (Statistic().observe(x).rows(), 1.01)):
        mse = error_of(x, qparams_of(rows, scheme_of("mse", bits, symmetric)))
        minmax = error_of(x, qparams_of(rows, scheme_of("minmax", bits, symmetric)))
        assert mse <= minmax * slack


def test_never_worse_than_minmax_row_by_row():
    torch.manual_seed(1)
    weight = torch.randn(200, 9)
    for bits in (2, 3, 4, 8):
        scheme = Scheme(bits, True, True, "per_channel", observer="mse")
        found = affine.fake_quantize(weight, qparams_of(rows_of(weight, 0), scheme, 0))
        rows = rows_of(weight, 0)
        full = affine.fake_quantize(weight, affine.qparams(rows.low, rows.high, scheme, 0))
        error, before = ((y - weight).square().sum(1) for y in (found, full))
        assert (error <= before * (1 + 1e-6)).all()
        assert (error < before).any()


@every_distribution
@every_symmetry
def test_more_bits_never_raise_the_error(distribution, symmetric):
    x = draw(distribution)
    rows = Statistic().observe(x).rows()
    errors = [error_of(x, qparams_of(rows, scheme_of("mse", b, symmetric))) for b in range(2, 9)]
    assert errors == sorted(errors, reverse=True)


@every_distribution
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_at_least_as_good_as_torch_histogram_observer(distribution, bits):
    x = draw(distribution)
    scheme = scheme_of("mse", bits, symmetric=False)
    theirs = HistogramObserver(quant_min=scheme.qmin, quant_max=scheme.qmax)
    theirs(x)
    scale, zero_point = theirs.calculate_qparams()
    other = affine.QParams(scale[0].float(), zero_point[0].int(), scheme.qmin, scheme.qmax)
    q = qparams_of(Statistic().observe(x).rows(), scheme)
    assert error_of(x, q) <= error_of(x, other) * 1.02  # both search on histograms


@every_distribution
@pytest.mark.parametrize("bits", [4, 2])
def test_close_to_exhaustive_search_affine(distribution, bits):
    x = draw(distribution)[:800]
    scheme = scheme_of("mse", bits, symmetric=False)
    rows = rows_of(x)
    fractions = torch.linspace(0.05, 1, 39)
    a, b = torch.meshgrid(fractions, fractions, indexing="ij")
    ends = (a.reshape(-1, 1) * rows.low_or_zero, b.reshape(-1, 1) * rows.high_or_zero)
    best = squared_error(rows, *ends, scheme).min()
    found = squared_error(rows, *(end[None] for end in range_of(rows, scheme)), scheme)
    assert found.item() <= best.item() * 1.03


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_gaussian_optimum(bits):
    steps = 2 ** (bits - 1) - 1
    x = torch.linspace(-6, 6, 4_001)
    density = (-x.square() / 2).exp()
    clips = torch.linspace(0.9, 3.0, 211)[:, None]
    levels = (x / clips * steps).round().clamp(-steps, steps)
    loss = ((levels * clips / steps - x).square() * density).sum(dim=1)

    torch.manual_seed(3)
    rows = Statistic().observe(torch.randn(1_000_000)).rows()
    found = range_of(rows, scheme_of("mse", bits, symmetric=True))[1].item()
    assert found == pytest.approx(clips[loss.argmin()].item(), rel=0.02)


def test_squared_error_against_fake_quantize():
    torch.manual_seed(4)
    x = torch.randn(3, 50)
    scheme = Scheme(4, True, True, "per_channel")
    rows = rows_of(x, 0)
    low, high = torch.rand(5, 3) * rows.low, torch.rand(5, 3) * rows.high
    found = squared_error(rows, low, high, scheme)
    for k in range(5):
        y = affine.fake_quantize(x, affine.qparams(low[k], high[k], scheme, 0))
        peak = x.abs().amax(1)
        expected = ((y - x).square().sum(1) / peak.square()).double()
        torch.testing.assert_close(found[k], expected, rtol=1e-5, atol=0)


def searched_in_full(rows: Rows, scheme: Scheme) -> torch.Tensor:
    """The same grid with nothing left out, ``[2, R]``."""
    low, high = rows.low.clamp(max=0.0), rows.high.clamp(min=0.0)
    if scheme.symmetric:
        low, high = -torch.maximum(-low, high), torch.maximum(-low, high)
    ends, best = torch.stack([low, high]), torch.ones(2, len(low))
    two_sided = not scheme.symmetric and bool(((low < 0) & (high > 0)).any())
    moves = [(1, 0), (0, 1)] if two_sided else [(1, 1)]
    sweeps = [(COARSE, (1, 1)), *((AROUND * step, move) for step in STEPS for move in moves)]
    for offsets, move in sweeps:
        tried = torch.cat([torch.zeros(1), offsets])[:, None, None] * torch.tensor(move)[:, None]
        fractions = (best + tried).clamp(0.0, 1.0)
        lows, highs = (fractions * ends).unbind(dim=1)
        winner = squared_error(rows, lows, highs, scheme).argmin(dim=0)
        best = fractions.gather(0, winner.expand(1, 2, -1))[0]
    low, high = best * ends
    return torch.stack(
        [low.clamp(min=rows.low.clamp(max=0)), high.clamp(max=rows.high.clamp(min=0))]
    )


@every_distribution
@every_symmetry
@pytest.mark.parametrize("bits", [8, 5, 3, 2])
def test_what_is_left_out_changes_no_result(distribution, symmetric, bits):
    x = draw(distribution)
    outliers = torch.cat([x, x[:1] * 50, x[1:2] * -7])
    scheme = scheme_of("mse", bits, symmetric)
    by_row = Scheme(bits, symmetric, symmetric, "per_channel", observer="mse")
    cases = (
        (Statistic().observe(x).rows(), scheme),
        (Statistic().observe(outliers).rows(), scheme),
        (rows_of(outliers), scheme),
        (rows_of(x.reshape(400, 10), 0), by_row),
    )
    for rows, given in cases:
        assert torch.equal(torch.stack(range_of(rows, given)), searched_in_full(rows, given))


def test_rows_are_searched_alone(monkeypatch):
    torch.manual_seed(5)
    rows = rows_of(torch.randn(30, 40) * torch.rand(30, 1), 0)
    scheme = Scheme(4, True, True, "per_channel", observer="mse")
    whole = torch.stack(range_of(rows, scheme))
    monkeypatch.setattr("qutils.numerics.observers.mse.CHUNK", 7 * 40)
    assert torch.equal(torch.stack(range_of(rows, scheme)), whole)


def test_row_of_zeros_has_the_empty_range():
    rows = rows_of(torch.zeros(2, 5), 0)
    low, high = range_of(rows, Scheme(8, True, True, "per_channel", observer="mse"))
    assert low.tolist() == high.tolist() == [0.0, 0.0]
