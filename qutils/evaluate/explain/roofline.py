"""The ceiling, measured here: multiply-adds and bytes a second, in ONNX Runtime on this CPU.

A layer of ``m`` multiply-adds that moves ``b`` bytes takes at least ``max(m / peak, b / rate)``.
Both rates are measured with the same number of threads: the peak by a large convolution and a
large matrix product, whichever is faster; the rate by copies of several sizes, because what fits
into a cache moves faster. The time at the ceiling is an estimate.

Source: Williams, Waterman, Patterson, "Roofline", Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from qutils.backends.onnxruntime.runtime import session_options_of
from qutils.backends.shared.runtime import RuntimeOptions
from qutils.evaluate.explain.profile import Executed

#: Bytes of the arrays that are copied: into level 1, level 2, level 3, memory.
SIZES = (1 << 14, 1 << 18, 1 << 22, 1 << 27)
_CHANNELS, _SIDE = 128, 28  # of the convolution
_MATRIX = 384
_REPEATS = 40  # short calls, many: some are not disturbed


@dataclass(frozen=True)
class Roofline:
    """Measured rates: multiply-adds a second in 8-bit integers and float32, bytes a second."""

    int8_per_s: float
    float_per_s: float
    bytes_per_s: tuple[tuple[int, float], ...]  # (bytes copied, bytes read and written a second)
    threads: int

    @property
    def gain(self) -> float:
        """How many times faster integers multiply than floats: the best to hope for."""
        return self.int8_per_s / self.float_per_s

    def ceiling_ms(self, layer: Executed) -> float:
        """The least milliseconds that a layer can take: estimated from the measured rates."""
        peak = self.int8_per_s if layer.kind == "integer" else self.float_per_s
        moving = layer.moved_bytes / self.rate(layer.moved_bytes)
        return 1e3 * max(layer.multiply_adds / peak, moving)

    def bound(self, layer: Executed) -> str:
        """What limits a layer at the ceiling: ``arithmetic`` or ``memory``."""
        peak = self.int8_per_s if layer.kind == "integer" else self.float_per_s
        moving = layer.moved_bytes / self.rate(layer.moved_bytes)
        return "arithmetic" if layer.multiply_adds / peak > moving else "memory"

    def rate(self, size: int) -> float:
        """Bytes a second of a copy that touches at least ``size`` bytes in all.

        >>> Roofline(1.0, 1.0, ((100, 8.0), (1000, 2.0)), 1).rate(150)
        8.0
        """
        for copied, rate in self.bytes_per_s:
            if size <= 2 * copied:  # read and written
                return rate
        return self.bytes_per_s[-1][1]


def measure(options: RuntimeOptions) -> Roofline:
    """Measure the rates of this machine with these options; takes about two seconds."""
    return Roofline(
        int8_per_s=max(_rate(_convolution(True), options), _rate(_product(True), options)),
        float_per_s=max(_rate(_convolution(False), options), _rate(_product(False), options)),
        bytes_per_s=_falling([(size, _copy_rate(size, options.threads)) for size in SIZES]),
        threads=options.threads,
    )


def _falling(rates: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """At least the rate of every larger size: of small copies the call itself takes most.

    >>> _falling([(100, 2.0), (1000, 8.0), (10_000, 1.0)])
    ((100, 8.0), (1000, 8.0), (10000, 1.0))
    """
    best, found = 0.0, []
    for size, rate in sorted(rates, reverse=True):
        best = max(best, rate)
        found.append((size, best))
    return tuple(reversed(found))


def _rate(case: tuple[ModelProto, tuple[int, ...], int], options: RuntimeOptions) -> float:
    model, shape, multiply_adds = case
    session = ort.InferenceSession(
        model.SerializeToString(), session_options_of(options), providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return multiply_adds / _seconds(lambda: session.run(None, {"x": x}))


def _seconds(call: Callable[[], object]) -> float:
    """The fastest of a few calls: a ceiling is what the machine can do undisturbed."""
    call()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _copy_rate(size: int, threads: int) -> float:
    """Bytes read and written a second by ``threads`` copies of ``size / threads`` bytes."""
    part = size // threads
    pairs = [(np.zeros(part, np.uint8), np.zeros(part, np.uint8)) for _ in range(threads)]
    again = max(1, (1 << 24) // size)

    def copy(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
        for _ in range(again):
            np.copyto(*pair)

    if threads == 1:
        return 2 * size * again / _seconds(lambda: copy(pairs[0]))
    with ThreadPoolExecutor(threads) as pool:
        return 2 * size * again / _seconds(lambda: list(pool.map(copy, pairs)))


def _convolution(integer: bool) -> tuple[ModelProto, tuple[int, ...], int]:
    """3 x 3, as many channels in as out, in the middle of a larger graph."""
    weights = (_CHANNELS, _CHANNELS, 3, 3)
    node = helper.make_node("Conv", ["a", "b"], ["y"], pads=[1] * 4)
    shape = (1, _CHANNELS, _SIDE, _SIDE)
    return _graph(node, shape, weights, integer), shape, _SIDE**2 * _CHANNELS**2 * 9


def _product(integer: bool) -> tuple[ModelProto, tuple[int, ...], int]:
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    shape = (_MATRIX, _MATRIX)
    return _graph(node, shape, shape, integer), shape, _MATRIX**3


def _graph(
    node: onnx.NodeProto, shape: tuple[int, ...], weights: tuple[int, ...], integer: bool
) -> ModelProto:
    """One layer, between Q/DQ pairs or in float."""
    rng = np.random.default_rng(0)
    w = rng.integers(-127, 128, weights).astype(np.int8 if integer else np.float32)
    values = {"w": w, "s": np.float32(0.05), "z": np.uint8(128), "zw": np.int8(0)}
    values["sy"] = np.float32(100)
    pairs = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["w", "s", "zw"], ["b"]),
        node,
        helper.make_node("QuantizeLinear", ["y", "sy", "z"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "sy", "z"], ["out"]),
    ]
    if not integer:
        node.input[:] = ["x", "w"]
        node.output[:] = ["out"]
        pairs, values = [node], {"w": w}
    graph = helper.make_graph(
        pairs,
        "ceiling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
