"""Operators that arrange values: shapes, orders of axes, parts of a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from qutils.importers.onnx.call import Call, Converter, Made, made
from qutils.importers.onnx.operators.batches import copied, reshape
from qutils.importers.onnx.values import Batch, Size, Value, spoken


def _flatten(call: Call) -> Made:
    axis = call.attribute("axis", 1)
    axis = axis + call.x.ndim if axis < 0 else axis
    if axis == 1 and call.x.ndim > 1:
        return made(torch.flatten, call.x, start_dim=1)
    return made(_in_two, call.x, axis=axis)


def _in_two(x: Tensor, axis: int) -> Tensor:
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _transpose(call: Call) -> Made:
    order = call.attribute("perm", list(range(call.x.ndim))[::-1])
    return made(torch.permute, call.x, dims=tuple(order))


def _squeeze(call: Call) -> Made:
    axes = call.numbers("axes", 1)
    if axes is None:
        axes = [axis for axis, size in enumerate(call.x.shape) if size == 1]
    if any(call.x.shape[axis] != 1 for axis in axes):
        raise call.refuse(
            f"axes {axes} of {spoken(call.x.shape)} are not all of size 1. Export the model with "
            "an open batch axis"
        )
    return made(torch.squeeze, call.x, dim=tuple(axes))


def _unsqueeze(call: Call) -> Made:
    axes = call.numbers("axes", 1) or []
    total = call.x.ndim + len(axes)
    places = tuple(sorted(axis % total for axis in axes))
    if len(places) == 1:
        return made(torch.unsqueeze, call.x, dim=places[0])
    return made(_unsqueezed, call.x, places=places)


def _unsqueezed(x: Tensor, places: Sequence[int]) -> Tensor:
    for place in places:
        x = x.unsqueeze(place)
    return x


def _concat(call: Call) -> Made | Value:
    """Parts that were stored for a batch of fixed size are copied for every sample."""
    given, axis = call.given(), call.attribute("axis", 1)
    if len(given) == 1:
        return call.x
    axis %= call.x.ndim
    return made(_joined, *copied(call, given, axis), axis=axis)


def _joined(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, axis)


def _split(call: Call) -> Made:
    axis = call.attribute("axis", 0)
    sizes = call.numbers("split", 1)
    if sizes is None:
        (side,) = call.settled([call.x.shape[axis]])
        size = math.ceil(side / call.attribute("num_outputs", len(call.node.output)))
        sizes = [size] * (side // size) + ([side % size] if side % size else [])
    return made(torch.split, call.x, split_size_or_sections=[int(s) for s in sizes], dim=axis)


def _slice(call: Call) -> Made | Value:
    starts, ends = (
        call.sizes(i) if call.has(i) else list(call.attribute(name))
        for i, name in ((1, "starts"), (2, "ends"))
    )
    axes = call.numbers("axes", 3) or list(range(len(starts)))
    steps = call.numbers("steps", 4) or [1] * len(starts)
    cuts = [
        _cut(call, axis % call.x.ndim, start, end, step)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    ]
    cuts = [cut for cut in cuts if cut[1:] != (0, None, 1)]
    return made(_sliced, call.x, cuts=cuts) if cuts else call.x


def _cut(call: Call, axis: int, start: Size, end: Size, step: int) -> tuple[Any, ...]:
    """Axis, start, end (None: the whole rest) and step, bounds within the axis."""
    side = call.x.shape[axis]
    last: Any = end
    whole_batch = isinstance(side, Batch) and start == 0 and end == call.fixed_batch
    if step > 0 and (end == side or whole_batch or (isinstance(end, int) and _reaches(end, side))):
        last = None
    if step < 0 and isinstance(end, int) and isinstance(side, int) and end < -side:
        last = None
    first: Any = start
    if isinstance(start, int) and isinstance(side, int):
        low = max(start + side if start < 0 else start, 0)
        first = min(low, side if step > 0 else side - 1)
        if isinstance(last, int):
            last = max(last + side if last < 0 else last, 0)
    elif isinstance(start, int) and step < 0:
        raise call.refuse("it reverses the samples of a batch")
    return axis, first, last, step


def _reaches(end: int, side: Size) -> bool:
    """Whether an end is that of the axis, whatever its size."""
    return end >= side if isinstance(side, int) else end >= 2**31 - 1


def _sliced(x: Tensor, cuts: Sequence[tuple[int, Any, Any, int]]) -> Tensor:
    for axis, start, end, step in cuts:
        if step < 0:  # the same values forward, then turned round
            side = x.shape[axis]
            places = range(start, -1 if end is None else end, step)
            first, last = (places[-1], places[0] + 1) if len(places) else (side, side)
            x = _stretch(x, axis, first, last, -step).flip(axis)
        else:
            x = _stretch(x, axis, start, end, step)
    return x


def _stretch(x: Tensor, axis: int, start: Any, end: Any, step: int) -> Tensor:
    index: list[slice] = [slice(None)] * x.ndim
    index[axis] = slice(start, end, step)
    return x[tuple(index)]


def _expand(call: Call) -> Made:
    """Sizes of 1 keep what x has; so do sizes that x has already."""
    given, source = call.sizes(1), call.x.shape
    own: tuple[Size, ...] = (1,) * (len(given) - len(source)) + source
    wanted: list[Size] = [1] * (len(own) - len(given))
    wanted += given
    added = len(own) - len(source)
    sizes: list[Size] = []
    for axis, (have, want) in enumerate(zip(own, wanted, strict=True)):
        kept = want in (1, have) or (isinstance(have, Batch) and want == call.fixed_batch)
        sizes.append((have if axis < added else -1) if kept else want)
    return made(_expanded, call.x, sizes=sizes)


def _expanded(x: Tensor, sizes: Sequence[int]) -> Tensor:
    return x.expand(*sizes)


def _tile(call: Call) -> Made:
    return made(_tiled, call.x, repeats=call.sizes(1))


def _tiled(x: Tensor, repeats: Sequence[int]) -> Tensor:
    return x.repeat(*repeats)


def _pad(call: Call) -> Made:
    """ONNX lists what begins, then what ends; PyTorch pairs, from the last axis on."""
    pads = call.numbers("pads", 1) or call.numbers("paddings", 1) or []
    mode = call.attribute("mode", "constant")
    axes = call.numbers("axes", 3) or list(range(call.x.ndim))
    pairs = [[0, 0] for _ in range(call.x.ndim)]
    for place, axis in enumerate(axes):
        pairs[axis] = [int(pads[place]), int(pads[place + len(axes)])]
    flat = [size for pair in reversed(pairs) for size in pair]
    while len(flat) > 2 and flat[-2:] == [0, 0]:
        del flat[-2:]
    if mode == "constant":
        value = call.optional(2)
        number = call.attribute("value", 0.0) if value is None else value.reshape(()).item()
        return made(F.pad, call.x, pad=flat, mode="constant", value=number)
    spatial = _IN_SPACE.get(mode)
    if spatial is None:
        raise call.refuse(f"mode={mode} has no counterpart")
    if len(flat) > 2 * (call.x.ndim - 2):
        return _padded_by_index(call, pairs, mode)
    flat += [0, 0] * (call.x.ndim - 2 - len(flat) // 2)  # PyTorch pads all axes in space
    return made(F.pad, call.x, pad=flat, mode=spatial)


_IN_SPACE = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _padded_by_index(call: Call, pairs: Sequence[Sequence[int]], mode: str) -> Made:
    """Padding of any axis by picking values of it."""
    axes = [axis for axis, pair in enumerate(pairs) if any(pair)]
    kept = []
    for axis in axes:
        (side,), (begin, end) = call.settled([call.x.shape[axis]]), pairs[axis]
        places = [_mirrored(i, side, mode) for i in range(-begin, side + end)]
        kept.append(call.keep(f"places{axis}", torch.tensor(places)))
    return made(_picked, call.x, *kept, axes=axes)


def _picked(x: Tensor, *picks: Tensor, axes: Sequence[int]) -> Tensor:
    for axis, index in zip(axes, picks, strict=True):
        x = x.index_select(axis, index)
    return x


def _mirrored(place: int, side: int, mode: str) -> int:
    if mode == "edge":
        return min(max(place, 0), side - 1)
    if mode == "wrap":
        return place % side
    place = abs(place) % (2 * side - 2) if side > 1 else 0
    return place if place < side else 2 * side - 2 - place


def _depth_to_space(call: Call) -> Made:
    size = call.attribute("blocksize")
    if call.attribute("mode", "DCR") == "CRD":
        return made(F.pixel_shuffle, call.x, upscale_factor=size)
    return made(_depth_first, call.x, size=size)


def _depth_first(x: Tensor, size: int) -> Tensor:
    _, c, h, w = x.shape
    y = x.reshape(-1, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(-1, c // size**2, h * size, w * size)


def _space_to_depth(call: Call) -> Made:
    return made(_space_first, call.x, size=call.attribute("blocksize"))


def _space_first(x: Tensor, size: int) -> Tensor:
    _, c, h, w = x.shape
    y = x.reshape(-1, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return y.reshape(-1, c * size**2, h // size, w // size)


def _trilu(call: Call) -> Made:
    upper = bool(call.attribute("upper", 1))
    places = call.optional(1)
    diagonal = 0 if places is None else int(places)
    return made(torch.triu if upper else torch.tril, call.x, diagonal=diagonal)


def _identity(call: Call) -> Value:
    return call.x


def _dropout(call: Call) -> Value:
    if call.has(2) and bool(call.constant(2)):
        raise call.refuse("it drops values at random (training_mode)")
    return call.x


LAYOUT: dict[str, Converter] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": reshape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
