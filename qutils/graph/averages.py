"""Average pooling whose windows all have one size and lie in the image, whatever was asked.

Backends disagree about what a window divides by that hangs over the border (ONNX Runtime's integer
kernel by another number than its float operator), and have no windows of unequal sizes at all. Both
are written here as what every kernel computes alike: pooling of parts, or one linear layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch.fx import GraphModule, Node

from qutils.graph.maxima import each, share
from qutils.graph.nodes import argument, insert, op_name
from qutils.graph.pads import padded_with
from qutils.graph.picks import pick, spatial, stored

_ATEN = torch.ops.aten
_POOLS = {
    1: _ATEN.avg_pool1d.default,
    2: _ATEN.avg_pool2d.default,
    3: _ATEN.avg_pool3d.default,
}
_CONVS = {1: _ATEN.conv1d.default, 2: _ATEN.conv2d.default, 3: _ATEN.conv3d.default}
_SLIDING = tuple(f"avg_pool{n}d" for n in _POOLS)
_ADAPTIVE = tuple(f"adaptive_avg_pool{n}d" for n in _POOLS)
#: So many parts are pooled one by one; beyond, a matrix of up to ``_LARGEST`` weights does it.
_MOST_PARTS = 4
_LARGEST = 1 << 18


@dataclass(frozen=True)
class _Run:
    """Neighbouring windows of one length, at equal distances, along one axis."""

    begin: int
    length: int
    stride: int
    results: int

    @property
    def places(self) -> range:
        """What the windows read."""
        return range(self.begin, self.begin + self.stride * (self.results - 1) + self.length)


def rewrite_averages(module: GraphModule) -> None:
    """Replace average pooling that kernels compute differently or lack, in place.

    Global pooling, and windows in the image that divide by their own size, stay.
    """
    for node in list(module.graph.nodes):
        op = op_name(node)
        if op not in (*_SLIDING, *_ADAPTIVE):
            continue
        sizes, results = spatial(node.args[0]), spatial(node)
        if sizes is None or results is None or not op.endswith(f"pool{len(sizes)}d"):
            continue
        if op in _ADAPTIVE:
            _replace_adaptive(module, node, sizes, results)
        else:
            _replace_sliding(module, node, sizes, results)


def _replace_adaptive(
    module: GraphModule, node: Node, sizes: Sequence[int], results: Sequence[int]
) -> None:
    if op_name(node) == "adaptive_avg_pool2d" and set(results) == {1}:
        return  # global average pooling has a kernel of its own
    windows = [[share(n, m, i) for i in range(m)] for n, m in zip(sizes, results, strict=True)]
    _average(module, node, node.args[0], windows)  # type: ignore[arg-type]


def _replace_sliding(
    module: GraphModule, node: Node, sizes: Sequence[int], results: Sequence[int]
) -> None:
    kernel = each(argument(node, 1), sizes)
    stride = each(argument(node, 2) or kernel, sizes)
    padding, counts = each(argument(node, 3, 0), sizes), bool(argument(node, 5, True))
    axes = list(zip(sizes, results, kernel, stride, padding, strict=True))
    source: Any = node.args[0]
    divisor = argument(node, 6)
    if divisor is not None:
        ends = [max(s * (m - 1) + k - n - p, 0) for n, m, k, s, p in axes]
        source = _padded(node, source, list(zip(padding, ends, strict=True)))
        _give(module, node, _weigh(module, node, source, kernel, stride, 1 / divisor))
        return
    if counts:  # zeros of the padding count, what hangs over it does not
        source = _padded(node, source, [(p, p) for p in padding])
        axes = [(n + 2 * p, m, k, s, 0) for n, m, k, s, p in axes]
    if all(p == 0 and s * (m - 1) + k <= n for n, m, k, s, p in axes):
        _give(module, node, _pool(module, node, source, kernel, stride))
        return
    windows = [
        [(max(s * i - p, 0), min(s * i - p + k, n)) for i in range(m)] for n, m, k, s, p in axes
    ]
    _average(module, node, source, windows)


def _weigh(
    module: GraphModule,
    node: Node,
    source: Node,
    kernel: Sequence[int],
    stride: Sequence[int],
    weight: float,
) -> Node:
    """Sum each window times ``weight``: a convolution of each channel by itself.

    Three axes are summed as planes, then as columns, since not every backend convolves volumes.
    """
    if len(kernel) < 3:
        return _convolve(module, node, source, kernel, stride, weight)
    batch, channels, depth, *sizes = source.meta["val"].shape
    planes = _reshaped(node, source, (batch, channels * depth, *sizes))
    share = 1 / math.prod(kernel[1:])
    planes = _convolve(module, node, planes, kernel[1:], stride[1:], share)
    sizes = list(planes.meta["val"].shape[2:])
    rows = _reshaped(node, planes, (batch, channels, depth, math.prod(sizes)))
    rows = _convolve(module, node, rows, [kernel[0], 1], [stride[0], 1], weight / share)
    return _reshaped(node, rows, (batch, channels, rows.meta["val"].shape[2], *sizes))


def _convolve(
    module: GraphModule,
    node: Node,
    source: Node,
    kernel: Sequence[int],
    stride: Sequence[int],
    weight: float,
) -> Node:
    batch, channels, *sizes = source.meta["val"].shape
    filters = torch.full((channels, 1, *kernel), weight)
    weights = stored(module, node, "shares", filters)
    weights.meta = {**node.meta, "val": filters}
    results = [(n - k) // s + 1 for n, k, s in zip(sizes, kernel, stride, strict=True)]
    value = source.meta["val"].new_empty([batch, channels, *results])
    none, one = [0] * len(sizes), [1] * len(sizes)
    args = (source, weights, None, list(stride), none, one, channels)
    return insert(node, _CONVS[len(sizes)], args, value)


def _reshaped(node: Node, source: Node, shape: Sequence[Any]) -> Node:
    """``source`` in another shape ``[N, ...]``, in front of ``node``."""
    value = source.meta["val"].new_empty(list(shape))
    return insert(node, _ATEN.reshape.default, (source, [-1, *shape[1:]]), value)


def _pool(
    module: GraphModule, node: Node, source: Node, kernel: Sequence[int], stride: Sequence[int]
) -> Node:
    """Means of windows that lie in ``source``.

    OpenVINO makes one kernel of a pooling and the zeros in front of it, which pads with another
    number than 0; a convolution sums those.
    """
    if padded_with(source) == 0:
        return _weigh(module, node, source, kernel, stride, 1 / math.prod(kernel))
    batch, channels, *sizes = source.meta["val"].shape
    results = [(n - k) // s + 1 for n, k, s in zip(sizes, kernel, stride, strict=True)]
    value = source.meta["val"].new_empty([batch, channels, *results])
    return insert(node, _POOLS[len(sizes)], (source, list(kernel), list(stride)), value)


def _padded(node: Node, source: Node, pads: Sequence[tuple[int, int]]) -> Node:
    """``source`` with zeros before and after each axis in space."""
    if not any(map(any, pads)):
        return source
    value = source.meta["val"]
    sizes = [n + sum(pad) for n, pad in zip(value.shape[2:], pads, strict=True)]
    amounts = [amount for pad in reversed(pads) for amount in pad]
    made = value.new_empty([*value.shape[:2], *sizes])
    return insert(node, _ATEN.constant_pad_nd.default, (source, amounts, 0.0), made)


def _average(
    module: GraphModule, node: Node, source: Node, windows: Sequence[Sequence[tuple[int, int]]]
) -> None:
    """Replace ``node`` by the means over windows ``[begin, end)``, given for each axis.

    Windows of one value pick it: a 1x1 image that is averaged to 6x6 is repeated.
    """
    if all(end - begin == 1 for along in windows for begin, end in along):
        picks = [[begin for begin, _ in along] for along in windows]
        _give(module, node, pick(module, node, source, picks))
        return
    runs = [_runs(along) for along in windows]
    entries = math.prod(source.meta["val"].shape[2:]) * math.prod(map(len, windows))
    parts = math.prod(map(len, runs))
    if parts > 1 and parts > _MOST_PARTS and entries <= _LARGEST:
        made = _by_matrix(module, node, source, windows)
    else:
        made = _by_parts(module, node, source, runs)
    _give(module, node, made)


def _runs(windows: Sequence[tuple[int, int]]) -> list[_Run]:
    """Windows of one axis, put together where length and distance go on."""
    found: list[_Run] = []
    for begin, end in windows:
        last = found[-1] if found else None
        if last is not None and last.length == end - begin:
            step = begin - last.begin - last.stride * (last.results - 1)
            if step and (last.results == 1 or step == last.stride):
                found[-1] = _Run(last.begin, last.length, step, last.results + 1)
                continue
        found.append(_Run(begin, end - begin, 1, 1))
    return found


def _by_parts(
    module: GraphModule, node: Node, source: Node, runs: Sequence[Sequence[_Run]]
) -> Node:
    """Pool each part of the image in which windows are alike, and join the results.

    Where two axes are in parts, results are joined in one row, whose values are then put in order.
    """
    value = node.meta["val"]
    split = [axis for axis, along in enumerate(runs) if len(along) > 1]
    pooled = [_part(module, node, source, part) for part in product(*runs)]
    if len(pooled) == 1:
        return pooled[0]
    if len(split) == 1:
        return insert(node, _ATEN.cat.default, (pooled, 2 + split[0]), value)
    rows = []
    for part in pooled:
        batch, channels, *sizes = part.meta["val"].shape
        rows.append(_reshaped(node, part, (batch, channels, math.prod(sizes))))
    row = insert(node, _ATEN.cat.default, (rows, 2), value.flatten(2))
    return _reshaped(node, pick(module, node, row, [_order(runs)]), value.shape)


def _order(runs: Sequence[Sequence[_Run]]) -> list[int]:
    """Where in the row of all parts each result is, in the order of the image."""
    results = [sum(run.results for run in along) for along in runs]
    order, place = torch.empty(results, dtype=torch.int64), 0
    begins = [[sum(run.results for run in along[:i]) for i in range(len(along))] for along in runs]
    for part, at in zip(product(*runs), product(*begins), strict=True):
        shape = [run.results for run in part]
        view = order[tuple(slice(b, b + n) for b, n in zip(at, shape, strict=True))]
        view.copy_(torch.arange(place, place + math.prod(shape)).reshape(shape))
        place += math.prod(shape)
    return order.flatten().tolist()


def _part(module: GraphModule, node: Node, source: Node, part: Sequence[_Run]) -> Node:
    """The means of windows that have one size."""
    sizes = source.meta["val"].shape[2:]
    places = [_read(run, size) for run, size in zip(part, sizes, strict=True)]
    cut = pick(module, node, source, places)
    kernel, stride = [run.length for run in part], [run.stride for run in part]
    if set(kernel) == {1}:
        picks = [range(0, len(along), s) for along, s in zip(places, stride, strict=True)]
        return pick(module, node, cut, picks)
    return _pool(module, node, cut, kernel, stride)


def _read(run: _Run, size: int) -> range:
    """What a run's pooling reads: all ``size`` values, if that makes the same windows."""
    whole = run.begin == 0 and (size - run.length) // run.stride + 1 == run.results
    return range(size) if whole else run.places


def _by_matrix(
    module: GraphModule, node: Node, source: Node, windows: Sequence[Sequence[tuple[int, int]]]
) -> Node:
    """A linear layer on rows ``[N C, H W]``, whose weights are each window's shares."""
    sizes, value = source.meta["val"].shape[2:], node.meta["val"]
    matrix = torch.ones(1, 1)
    for size, along in zip(sizes, windows, strict=True):
        places = torch.arange(size)
        shares = [((places >= a) & (places < b)).float() / (b - a) for a, b in along]
        matrix = torch.kron(matrix, torch.stack(shares))
    weights = stored(module, node, "shares", matrix)
    weights.meta = {**node.meta, "val": matrix}
    batch, channels = value.shape[:2]
    rows = _reshaped(node, source, (batch * channels, matrix.shape[1]))
    made = value.new_empty([batch * channels, len(matrix)])
    return _reshaped(node, insert(node, _ATEN.linear.default, (rows, weights), made), value.shape)


def _give(module: GraphModule, node: Node, made: Node) -> None:
    node.replace_all_uses_with(made)
    module.graph.erase_node(node)
