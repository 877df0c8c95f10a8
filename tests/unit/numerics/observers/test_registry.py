"""What holds for every observer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qutils.numerics import affine
from qutils.numerics.observers import OBSERVERS, Statistic, qparams_of, range_of, rows_of
from qutils.numerics.schemes import OBSERVER_NAMES, Scheme

every_observer = pytest.mark.parametrize("observer", OBSERVERS)
every_symmetry = pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])


def scheme_of(observer: str, bits: int = 8, symmetric: bool = False, **more) -> Scheme:
    return Scheme(bits, signed=symmetric, symmetric=symmetric, observer=observer, **more)


def assert_contained(rows, low, high):
    assert torch.isfinite(low).all()
    assert torch.isfinite(high).all()
    assert (rows.low_or_zero <= low).all()
    assert (low <= high).all()
    assert (high <= rows.high_or_zero).all()


def test_the_registry_holds_the_names_that_schemes_allow():
    assert [*OBSERVERS] == [*OBSERVER_NAMES]
    assert next(iter(OBSERVERS)) == Scheme().observer
    modules = {name: type(record).__module__ for name, record in OBSERVERS.items()}
    assert modules == {name: f"qutils.numerics.observers.{name}" for name in OBSERVERS}


@every_observer
@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=12),
    st.integers(2, 8),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_ranges_lie_within_the_data(observer, numbers, bits, symmetric):
    x = torch.tensor(numbers)
    scheme = scheme_of(observer, bits, symmetric)
    for rows in (rows_of(x), Statistic().observe(x).rows()):
        assert_contained(rows, *range_of(rows, scheme))


@every_symmetry
@every_observer
@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-30, -1e-30, 1e30, -1e30])
def test_constant_and_single_values(observer, symmetric, value):
    x = torch.full((4,), value)
    scheme = scheme_of(observer, 8, symmetric)
    for rows in (rows_of(x), rows_of(x[:1]), Statistic().observe(x).rows()):
        assert_contained(rows, *range_of(rows, scheme))
        q = qparams_of(rows, scheme)
        error = (affine.fake_quantize(x, q) - x).abs().max().item()
        # Half of the grid of 8 bits: a constant is as well off as the end of any range.
        assert error <= max(abs(value) / 250, affine.MIN_SCALE / 2)


@every_symmetry
@every_observer
def test_dead_channels_beside_live_ones(observer, symmetric):
    torch.manual_seed(0)
    weight = torch.randn(4, 30)
    weight[1] = 0.0
    scheme = scheme_of(observer, 8, symmetric, granularity="per_channel")
    q = qparams_of(rows_of(weight, 0), scheme, 0)
    assert q.scale.shape == (4,)
    assert q.scale[1].item() == affine.MIN_SCALE
    assert affine.fake_quantize(weight, q)[1].eq(0).all()
    assert (q.scale[[0, 2, 3]] > 1e-3).all()


@every_symmetry
@every_observer
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_rows_do_not_see_each_other(observer, symmetric, bits):
    torch.manual_seed(1)
    weight = torch.randn(40, 72) * torch.logspace(-5, 5, 40)[:, None]
    scheme = scheme_of(observer, bits, symmetric)
    low, high = range_of(rows_of(weight, 0), scheme)
    for c in (0, 17, 39):
        alone = range_of(rows_of(weight[c]), scheme)
        assert torch.equal(torch.stack([low[c], high[c]]), torch.cat(alone))


@every_observer
def test_shapes_of_scales(observer):
    weight = torch.randn(4, 6, 3)
    for axis, group_size, shape in ((None, None, ()), (1, None, (6,)), (0, 9, (4, 2))):
        granularity = {0: "per_tensor", 1: "per_channel", 2: "per_group"}[len(shape)]
        scheme = scheme_of(observer, 4, True, granularity=granularity, group_size=group_size)
        q = qparams_of(rows_of(weight, axis, group_size), scheme, axis)
        assert q.scale.shape == q.zero_point.shape == shape
        assert affine.fake_quantize(weight, q).shape == weight.shape


@every_observer
def test_ranges_repeat(observer):
    torch.manual_seed(2)
    x = torch.randn(10_000)
    ranges = [range_of(Statistic().observe(x).rows(), scheme_of(observer, 4)) for _ in range(2)]
    assert ranges[0] == ranges[1]


@every_symmetry
@pytest.mark.parametrize("observer", [name for name in OBSERVERS if name != "moving_average"])
def test_scaling_by_a_power_of_two_scales_the_range(observer, symmetric):
    torch.manual_seed(3)
    x = torch.randn(5000)
    scheme = scheme_of(observer, 4, symmetric)
    one = torch.cat(range_of(Statistic().observe(x).rows(), scheme))
    other = torch.cat(range_of(Statistic().observe(x * 1024).rows(), scheme))
    assert torch.equal(one * 1024, other)


@pytest.mark.parametrize("observer", ["percentile", "mse", "entropy"])
def test_an_outlier_is_clipped(observer):
    torch.manual_seed(4)
    x = torch.cat([torch.randn(100_000), torch.tensor([40.0])])
    _, high = range_of(Statistic().observe(x).rows(), scheme_of(observer, 4))
    assert 2.0 < high.item() < 20.0


@pytest.mark.parametrize("observer", OBSERVERS)
def test_the_histogram_stands_for_the_values(observer):
    torch.manual_seed(5)
    x = torch.randn(20_000).relu()
    scheme = scheme_of(observer, 4)
    _, binned = range_of(Statistic().observe(x).rows(), scheme)
    _, exact = range_of(rows_of(x), scheme)
    assert binned.item() == pytest.approx(exact.item(), rel=0.08)
