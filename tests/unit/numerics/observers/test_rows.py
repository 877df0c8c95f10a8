import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.numerics.observers import rows_of


@pytest.mark.parametrize(
    ("axis", "group_size", "shape", "size"),
    [
        (None, None, (), (1, 72)),
        (0, None, (4,), (4, 18)),
        (1, None, (2,), (2, 36)),
        (0, 6, (4, 3), (12, 6)),
        (1, 9, (2, 4), (8, 9)),
    ],
    ids=["per_tensor", "axis0", "axis1", "groups-axis0", "groups-axis1"],
)
def test_one_row_for_each_scale(axis, group_size, shape, size):
    weight = torch.randn(4, 2, 3, 3)
    rows = rows_of(weight, axis, group_size)
    assert rows.shape == shape
    assert rows.values.shape == rows.counts.shape == size
    assert torch.equal(rows.low, rows.values.amin(1))
    assert torch.equal(rows.high, rows.values.amax(1))
    assert torch.equal(rows.values.flatten().sort().values, weight.flatten().sort().values)
    assert rows.counts.eq(1).all()


def test_channels_keep_their_values():
    weight = torch.randn(4, 2, 3)
    for row, channel in zip(rows_of(weight, 1).values, weight.unbind(1), strict=True):
        assert torch.equal(row, channel.flatten())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_weight_is_refused(bad):
    weight = torch.ones(3, 3)
    weight[1, 1] = bad
    with pytest.raises(InvalidInputError, match=r"fc\.weight holds NaN or Inf"):
        rows_of(weight, 0, name="fc.weight")


def test_group_size_that_does_not_divide_is_refused():
    with pytest.raises(InvalidInputError, match="group_size 4 does not divide"):
        rows_of(torch.ones(3, 6), 0, 4)


def test_empty_weight_is_refused():
    with pytest.raises(InvalidInputError, match=r"shape \(0, 3\) holds no values"):
        rows_of(torch.ones(0, 3), 0)
