"""What integer kernels compute, by hand where no runtime's file shows it."""

from __future__ import annotations

import torch

from qutils.integer.kernels import KERNELS
from qutils.numerics.exact.values import Grid, Quantized, Unrounded


def on_grid(integers: list[int], scale: float, zero_point: int = 0) -> Quantized:
    grid = Grid(torch.tensor(scale), torch.tensor(zero_point), 0, 255)
    return Quantized(torch.tensor([integers], dtype=torch.int32), grid)


def test_parts_of_one_grid_are_moved():
    joined = KERNELS["cat"]([on_grid([1, 255], 0.3, 7), on_grid([0], 0.3, 7)], 1)
    assert isinstance(joined, Quantized)
    assert joined.integers.tolist() == [[1, 255, 0]]
    assert (float(joined.grid.scale), int(joined.grid.zero_point)) == (float(torch.tensor(0.3)), 7)


def test_parts_of_several_grids_are_each_put_on_that_of_the_whole():
    for other in (on_grid([10], 0.25), on_grid([10], 0.5, 4)):
        joined = KERNELS["cat"]([on_grid([3, 20], 0.5), other], 1)
        assert isinstance(joined, Unrounded)
        value = float(other.value())
        assert joined.requantize(on_grid([], 1.0).grid).tolist() == [
            [2, 10, int(torch.round(torch.tensor(value)))]  # 1.5 goes to the even integer
        ]


def test_average_pooling_takes_out_the_zero_point_and_pads_with_real_zeros():
    x, grid = on_grid([10, 20, 30, 41], 0.5, 10), on_grid([], 1.0, 3).grid
    pooled = KERNELS["avg_pool1d"](x, [2]).requantize(grid)
    assert pooled.tolist() == [[3 + 2, 3 + 13]]  # of 2.5, to even, and 12.75
    padded = KERNELS["avg_pool1d"](x, [2], [2], [1]).requantize(grid)
    assert padded.tolist() == [[3, 3 + 8, 3 + 8]]  # of 0, 7.5 and 7.75
