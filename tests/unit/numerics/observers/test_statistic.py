import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.ao.quantization import MovingAverageMinMaxObserver

from qutils.errors import InvalidInputError
from qutils.numerics.observers import Statistic
from qutils.numerics.observers.statistic import BINS

LARGE = 2.0**100  # 1e30
values = st.floats(-LARGE, LARGE, width=32)
batches = st.lists(st.lists(values, min_size=1, max_size=8), min_size=1, max_size=6)


def observed(*parts: torch.Tensor) -> Statistic:
    statistic = Statistic("x")
    for part in parts:
        statistic.observe(part)
    return statistic


def assert_same_histogram(one: Statistic, other: Statistic):
    assert one.width_ == other.width_
    assert torch.equal(one.counts_, other.counts_)
    assert (one.min_, one.max_, one.count_) == (other.min_, other.max_, other.count_)
    assert torch.equal(one.rows().values, other.rows().values)


@given(batches, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=200)
def test_streaming_equals_one_shot_for_any_split_and_order(lists, random):
    parts = [torch.tensor(part) for part in lists]
    once = observed(torch.cat(parts))
    random.shuffle(parts)
    assert_same_histogram(observed(*parts), once)


@pytest.mark.parametrize("sizes", [[1] * 7, [100_000], [3, 99_997], [262_144, 1, 17]])
def test_streaming_equals_one_shot_on_growing_data(sizes):
    torch.manual_seed(0)
    x = torch.randn(sum(sizes)) * torch.logspace(-20, 20, sum(sizes))
    assert_same_histogram(observed(*x.split(sizes)), observed(x))
    assert_same_histogram(observed(x.flip(0)), observed(x))


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 7.7, 1e30])
def test_counts_against_numpy(scale):
    torch.manual_seed(1)
    x = torch.randn(50_000) * scale
    width = observed(x).width_
    index = torch.tensor([-3, -2, -1, 1, 2, 3], dtype=torch.float32)
    edges = index * width  # values exactly on edges belong to the bin farther from zero
    x = torch.cat([x, edges, torch.zeros(5), torch.nextafter(edges, torch.zeros(6))])
    statistic = observed(x)

    bounds = np.arange(1, BINS + 1) * statistic.width_
    numbers = x.double().numpy()
    positive, _ = np.histogram(numbers, bounds)
    negative, _ = np.histogram(-numbers, bounds)
    middle = [np.sum(np.abs(numbers) < statistic.width_)]
    expected = np.concatenate([negative[::-1], middle, positive])
    assert np.array_equal(statistic.counts_.numpy(), expected)


def test_width_is_the_smallest_power_of_two_that_fits():
    assert observed(torch.tensor([7.99, -1.0])).width_ == 8.0 / BINS
    assert observed(torch.tensor([-8.0])).width_ == 16.0 / BINS


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "strided", "expanded", "scalar"])
def test_layout_does_not_matter(layout):
    torch.manual_seed(2)
    x = torch.randn(4, 6, 5, 3)
    view = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(0, 3),
        "strided": x[::2, :, 1:4],
        "expanded": x[:1].expand(7, 6, 5, 3),
        "scalar": x[0, 0, 0, 0],
    }[layout]
    assert_same_histogram(observed(view), observed(view.contiguous().flatten()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_other_types_are_taken_as_float32(dtype):
    x = torch.arange(200).to(dtype)
    assert_same_histogram(observed(x), observed(x.float()))


def test_extremes_and_counts_are_exact():
    torch.manual_seed(3)
    parts = [torch.randn(50) for _ in range(10)]
    statistic, everything = observed(*parts), torch.cat(parts)
    assert (statistic.min_, statistic.max_) == (everything.min().item(), everything.max().item())
    assert (statistic.count_, statistic.batches_) == (500, 10)
    assert statistic.counts_.sum() == 500


def test_running_extremes_against_torch():
    torch.manual_seed(4)
    theirs = MovingAverageMinMaxObserver(averaging_constant=0.1)
    statistic = Statistic()
    for _ in range(20):
        batch = torch.randn(100)
        theirs(batch)
        statistic.observe(batch)
    assert statistic.running_min_ == pytest.approx(theirs.min_val.item(), rel=1e-5)
    assert statistic.running_max_ == pytest.approx(theirs.max_val.item(), rel=1e-5)


def test_rows_are_the_occupied_bins():
    x = torch.tensor([0.0, 0.0, 0.0, -3.0, 5.0])
    rows = observed(x).rows()
    half = observed(x).width_ / 2
    # The centers of the outer bins would lie half a bin beyond the extremes: clamped.
    assert rows.values.tolist() == [[-3.0, 0.0, 5.0]]
    assert rows.counts.tolist() == [[1.0, 3.0, 1.0]]
    assert observed(x, torch.tensor([2.0])).rows().values[0, 2].item() == 2.0 + half
    assert rows.shape == ()


def test_memory_does_not_grow():
    statistic = Statistic()
    before = statistic.counts_.numel()
    for power in range(-30, 31):
        statistic.observe(torch.randn(100) * 10.0**power)
    assert statistic.counts_.numel() == before == 2 * BINS - 1
    assert all(not isinstance(value, list | dict) for value in vars(statistic).values())


def test_observe_returns_self_and_leaves_the_input_alone():
    x = torch.randn(10, requires_grad=True)
    before = x.detach().clone()
    statistic = Statistic()
    assert statistic.observe(x) is statistic
    assert torch.equal(x, before)


def test_deepcopy_is_independent():
    first = observed(torch.ones(3))
    second = copy.deepcopy(first).observe(torch.tensor([2.0]))
    assert (first.count_, second.count_) == (3, 4)
    assert (int(first.counts_.sum()), int(second.counts_.sum())) == (3, 4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_is_refused_and_nothing_added(bad):
    statistic = Statistic("blocks.0.conv").observe(torch.ones(2))
    with pytest.raises(InvalidInputError, match=r"blocks\.0\.conv holds NaN or Inf"):
        statistic.observe(torch.tensor([1.0, bad]))
    assert_same_histogram(statistic, observed(torch.ones(2)))


def test_empty_batch_is_refused():
    with pytest.raises(InvalidInputError, match=r"relu: a batch of shape \(0, 3\) has no values"):
        Statistic("relu").observe(torch.zeros(0, 3))


def test_rows_of_nothing_are_refused():
    with pytest.raises(InvalidInputError, match="relu saw no data"):
        Statistic("relu").rows()
