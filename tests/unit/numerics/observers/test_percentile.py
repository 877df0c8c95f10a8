import numpy as np
import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.numerics.observers import Statistic, rows_of
from qutils.numerics.observers.percentile import Percentile
from qutils.numerics.schemes import Scheme


@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.0, 99.9, 99.99, 100.0])
def test_against_numpy(percentile):
    torch.manual_seed(0)
    x = torch.randn(3, 7777)
    low, high = Percentile(percentile).range(rows_of(x, 0), Scheme())
    tail = (100.0 - percentile) / 2
    expected = np.percentile(x.numpy(), [tail, 100.0 - tail], axis=1, method="inverted_cdf")
    assert np.array_equal(np.stack([low.numpy(), high.numpy()]), expected.astype(np.float32))


def test_histogram_is_within_a_bin_of_the_values():
    torch.manual_seed(1)
    x = torch.randn(100_000) * 3
    statistic = Statistic().observe(x)
    binned = torch.cat(Percentile().range(statistic.rows(), Scheme()))
    exact = torch.cat(Percentile().range(rows_of(x), Scheme()))
    assert (binned - exact).abs().max() <= statistic.width_


def test_at_most_the_stated_share_is_clipped():
    torch.manual_seed(2)
    x = torch.randn(200_000)
    low, high = Percentile().range(rows_of(x), Scheme())
    assert (x < low).sum() <= 10  # 0.005 % of 200,000
    assert (x > high).sum() <= 10
    assert high < x.max()


def test_a_share_that_is_met_exactly_is_clipped():
    """A quarter off each end of eight values is two of them."""
    low, high = Percentile(50.0).range(rows_of(torch.arange(8.0)), Scheme())
    assert (low.item(), high.item()) == (2.0, 5.0)


@pytest.mark.parametrize("percentile", [0.0, -1.0, 100.1, float("nan")])
def test_percentile_outside_0_to_100_is_refused(percentile):
    with pytest.raises(InvalidInputError, match="percentile must lie"):
        Percentile(percentile)
