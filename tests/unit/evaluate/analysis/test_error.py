import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import error_split, error_split_of_rows, sqnr_db, sqnr_of_rows
from qutils.numerics import affine
from qutils.numerics.observers import OBSERVERS, Statistic, qparams_of, rows_of
from qutils.numerics.schemes import Scheme

AFFINE = Scheme(4, signed=False, symmetric=False)


@given(
    st.integers(0, 1000), st.sampled_from([2, 4, 8]), st.floats(0.1, 3.0), st.sampled_from([0, 1])
)
def test_the_parts_add_up_to_the_mean_squared_error(seed, bits, clip, axis):
    x = torch.randn(4, 50, generator=torch.Generator().manual_seed(seed))
    scheme = Scheme(bits, True, True, "per_channel")
    end = torch.full((x.shape[axis],), clip)
    q = affine.qparams(-end, end, scheme, axis)
    split = error_split(x, q)
    y = affine.fake_quantize(x, q)
    mean = (y.double() - x.double()).square().mean().item()
    assert split.total == split.rounding + split.clipping
    assert split.total == pytest.approx(mean, rel=1e-5)
    assert split.sqnr_db == pytest.approx(sqnr_db(x, y), abs=1e-4)


def test_clipping_is_what_the_range_cuts_off():
    x = torch.tensor([-1.0, 0.4, 2.6, 3.4, 3.6, 7.0])
    q = affine.QParams(torch.tensor(1.0), torch.tensor(0), 0, 3)
    split = error_split(x, q)
    # -1, 3.6 and 7 round to integers outside 0..3; 3.4 rounds to 3 by itself.
    assert split.clipped_share == 0.5
    assert split.clipping == pytest.approx((1.0 + 0.36 + 16.0) / 6, rel=1e-6)
    assert split.rounding == pytest.approx((0.16 + 0.16 + 0.16) / 6, rel=1e-6)


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])
def test_minmax_clips_nothing(symmetric):
    x = torch.randn(10_000)
    q = qparams_of(rows_of(x), Scheme(8, symmetric, symmetric))
    split = error_split(x, q)
    assert split.clipping == split.clipped_share == 0.0
    assert split.rounding == pytest.approx(float(q.scale) ** 2 / 12, rel=0.05)


def test_rows_of_a_weight_give_the_same_as_the_weight():
    weight = torch.randn(6, 4, 3, 3)
    for scheme, axis in (
        (Scheme(4, True, True, "per_channel", observer="mse"), 0),
        (Scheme(4, True, True, "per_group", 12, observer="mse"), 0),
        (Scheme(4, True, True, observer="mse"), None),
    ):
        rows = rows_of(weight, axis, scheme.group_size)
        q = qparams_of(rows, scheme, axis)
        of_rows, of_weight = error_split_of_rows(rows, q), error_split(weight, q)
        for field in ("signal", "rounding", "clipping", "clipped_share", "sqnr_db"):
            assert getattr(of_rows, field) == pytest.approx(getattr(of_weight, field), rel=1e-9)


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_kept_histogram_gives_that_of_its_data(observer, bits):
    for x in (torch.randn(100_000), torch.randn(100_000).relu()):
        rows = Statistic().observe(x).rows()
        q = qparams_of(rows, Scheme(bits, False, False, observer=observer))
        exact = error_split(x, q)
        kept = error_split_of_rows(rows, q)
        assert kept.sqnr_db == sqnr_of_rows(rows, q) == pytest.approx(exact.sqnr_db, abs=0.3)
        assert kept.signal == pytest.approx(exact.signal, rel=1e-3)
        assert kept.clipped_share == pytest.approx(exact.clipped_share, abs=0.003)


def test_scales_must_fit_the_rows():
    rows = rows_of(torch.randn(4, 5), 0)
    q = affine.QParams(torch.ones(3), torch.zeros(3, dtype=torch.int32), -7, 7, 0)
    with pytest.raises(InvalidInputError, match="3 scales do not fit 4 rows"):
        error_split_of_rows(rows, q)


@pytest.mark.parametrize("bad", [torch.empty(0), torch.tensor([1.0, torch.nan])])
def test_no_values_or_nan(bad):
    with pytest.raises(InvalidInputError):
        error_split(bad, affine.QParams(torch.tensor(1.0), torch.tensor(0), 0, 3))
