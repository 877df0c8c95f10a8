"""Values picked by constant indices, and weighted means of such, for a ``.tflite`` file.

LiteRT's RESIZE operators sample by the ratio of sizes, PyTorch by the factor that it was given.
Both indices and weights are therefore asked of PyTorch's own operator when the file is written.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import Node

from qutils.backends.litert.tflite import Grid
from qutils.backends.litert.tflite_values import Value, Writer, place_of
from qutils.graph.nodes import argument, attribute


def select(w: Writer, node: Node, grid: Grid | None) -> Value:
    """GATHER with stored indices."""
    x, places = w.read(node.args[0]), argument(node, 2)
    axis = int(argument(node, 1)) % len(x.shape)
    return picked_along(w, x, axis, attribute(w.module, str(places.target)).tolist())


def repeated(w: Writer, x: Value, amounts: Sequence[int]) -> Value:
    """GATHER that repeats the values at the border, ``amounts`` as PyTorch's ``pad`` has them."""
    for index in range(len(amounts) // 2):
        axis = len(x.shape) - 1 - index
        begin, end = amounts[2 * index : 2 * index + 2]
        size = x.shape[axis]
        places = [min(max(place, 0), size - 1) for place in range(-begin, size + end)]
        x = picked_along(w, x, axis, places)
    return x


def picked_along(w: Writer, x: Value, axis: int, places: Sequence[int]) -> Value:
    """The values at ``places`` of one axis of ``[N, C, ...]``."""
    if list(places) == list(range(x.shape[axis])):
        return x
    shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :])
    inputs = (x.tensor, w.flat.integers(places))
    place = place_of(axis, len(x.shape), x.last)
    return w.emit("GATHER", inputs, shape, x.grid, "GatherOptions", last=x.last, axis=place)


def resample(w: Writer, node: Node, grid: Grid | None) -> Value:
    """Linear and cubic interpolation in float: a weighted sum of gathers, axis by axis."""
    x = w.read(node.args[0])
    for axis in range(2, len(x.shape)):
        x = _weighed(w, x, axis, _weights(node, axis - 2, x.shape[axis]))
    return x


def _weights(node: Node, axis: int, size: int) -> Tensor:
    """What PyTorch's operator takes of each of ``size`` values along an axis ``[results, size]``.

    Interpolation treats each axis by itself: the others get one value each here.
    """
    settings = list(node.args[1:])  # output_size, align_corners, scale_factors
    for index in (0, 2):
        given = argument(node, 1 + index)
        if given is not None:
            settings[index] = [n if i == axis else type(n)(1) for i, n in enumerate(given)]
    rank = node.meta["val"].ndim
    shape = [size, *[1] * (rank - 1)]
    shape[2 + axis] = size
    moved: Tensor = node.target(torch.eye(size).reshape(shape), *settings, **node.kwargs)  # type: ignore[operator]
    return moved.reshape(size, -1).T


def _weighed(w: Writer, x: Value, axis: int, weights: Tensor) -> Value:
    """``sum_t weight_t x[place_t]`` along an axis: a GATHER, a MUL and an ADD a term."""
    terms = max(1, int((weights != 0).sum(1).max()))
    shares, places = weights.abs().topk(terms, dim=1)
    shares = weights.gather(1, places)
    shape = (*x.shape[:axis], len(weights), *x.shape[axis + 1 :])
    broadcast = [1] * len(shape)
    broadcast[place_of(axis, len(shape), x.last)] = -1
    total: Value | None = None
    for share, place in zip(shares.T, places.T, strict=True):
        part = picked_along(w, x, axis, place.tolist())
        if not torch.equal(share, torch.ones_like(share)):
            factor = w.flat.constant(share.reshape(broadcast).contiguous().numpy())
            part = w.emit("MUL", (part.tensor, factor), shape, None, "MulOptions", last=x.last)
        if total is not None:
            inputs = (total.tensor, part.tensor)
            part = w.emit("ADD", inputs, shape, None, "AddOptions", last=x.last)
        total = part
    assert total is not None
    return total


#: Written in float only.
RESAMPLES = dict.fromkeys(
    (
        *("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"),
        *("upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
    ),
    resample,
)
