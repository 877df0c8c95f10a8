"""Activations of a ``.tflite`` file: what they mean, and in which order their axes lie.

LiteRT's kernels want channels last, PyTorch's graphs have them in second place. Each value says how
it lies; it is moved when an operator needs the other order, and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import GraphModule, Interpreter, Node

from qutils.backends.litert.tflite import FlatModel, Grid
from qutils.errors import UnsupportedError
from qutils.graph.nodes import argument, attribute, layer_of, op_name
from qutils.graph.signature import Signature


@dataclass(frozen=True)
class Value:
    """A tensor of the file. ``shape`` is PyTorch's ``[N, C, ...]``, for one picture.

    With ``last`` it lies as ``[N, ..., C]``; without ``grid`` it holds ``kind``.
    """

    tensor: int
    shape: tuple[int, ...]
    grid: Grid | None
    last: bool = False
    kind: str = "float32"  # where there is no grid

    @property
    def lies(self) -> tuple[int, ...]:
        """Its shape as it lies."""
        return channels_last(self.shape) if self.last else self.shape


@dataclass(frozen=True)
class Stored:
    """What the graph stores: int8 or int32 and their grid along axis 0, or float32."""

    values: NDArray[Any]
    grid: Grid | None


def channels_last(axes: Sequence[int]) -> tuple[int, ...]:
    """``[N, C, ...] -> [N, ..., C]``.

    >>> channels_last((1, 3, 32, 48))
    (1, 32, 48, 3)
    """
    return (axes[0], *axes[2:], axes[1])


def place_of(axis: int, rank: int, last: bool) -> int:
    """Where an axis of ``[N, C, ...]`` lies.

    >>> place_of(1, 4, last=True), place_of(-1, 4, last=True), place_of(-1, 4, last=False)
    (3, 2, 3)
    """
    axis %= rank
    return channels_last(range(rank)).index(axis) if last else axis


class Writer:
    """Writes a reference Q/DQ graph operator by operator; holds what was written.

    While ``real`` is set, what is read comes in float32, dequantized where it lies as integers.
    """

    def __init__(self, module: GraphModule, signature: Signature) -> None:
        self.module, self.flat = module, FlatModel()
        self.real = False
        self.values: dict[str, Value] = {}
        self._reals: dict[int, Value] = {}  # by tensor: dequantized once, whoever reads it
        one, two = (_results(module, signature, samples) for samples in (1, 2))
        self.shapes = {name: tuple(x.shape) for name, x in one.items()}
        self._twice = {name: tuple(x.shape) for name, x in two.items()}
        counted = _computed_from(module, "sizes")
        #: Integers that depend on nothing but the number of samples, of one and of two samples.
        self.both = {name: (one[name], two[name]) for name in counted if name in one}
        #: Integers that depend on nothing.
        self.fixed = {name: one[name] for name in _computed_from(module, "") if name in one}

    def read(self, node: Any) -> Value:
        """The activation that a node stands for, computed or stored."""
        if (stored := self.stored(node)) is not None:
            tensor = self.flat.constant(stored.values, stored.grid)
            return Value(tensor, stored.values.shape, stored.grid)
        value = self.raw(node)
        if self.real and value.kind != "float32":
            return self.cast(value, "float32")
        if not self.real or value.grid is None:
            return value
        if value.tensor not in self._reals:
            self._reals[value.tensor] = self.requantized(value, None)
        return self._reals[value.tensor]

    def raw(self, node: Any) -> Value:
        """Return the activation as it was written: integers as int8 or int32, masks as bool."""
        if isinstance(node, int):
            return Value(self.flat.integers([node]), (1,), None, kind="int32")
        if node.name in self.fixed:
            values = self.fixed[node.name]
            kind = kind_of(values.dtype)
            stored = values.contiguous().numpy().astype(kind)
            return Value(self.flat.constant(stored), stored.shape, None, kind=kind)
        if node.name not in self.values:
            raise unsupported(node, "it computes with the number of samples")
        return self.values[node.name]

    def cast(self, value: Value, kind: str) -> Value:
        """Return the numbers in another type, ``float32``, ``int32`` or ``bool``."""
        if value.kind == kind:
            return value
        inputs, last = (value.tensor,), value.last
        return self.emit("CAST", inputs, value.shape, None, "CastOptions", last=last, kind=kind)

    def growing(self, node: Node) -> int | None:
        """The axis of a node's value that grows with the batch."""
        pairs = zip(self.shapes[node.name], self._twice[node.name], strict=True)
        return next((axis for axis, (one, two) in enumerate(pairs) if one != two), None)

    def stored(self, node: Any) -> Stored | None:
        """The integers behind a ``dequantize`` of something stored, as int8; None if computed.

        While ``real`` is set, the float32 values that they mean, or that are stored as such.
        """
        if self.real:
            return self._stored_real(node)
        if not isinstance(node, Node) or not op_name(node).startswith("dequantize"):
            return None
        source, scale, zero_point = (argument(node, place) for place in range(3))
        if not isinstance(source, Node) or source.op != "get_attr":
            return None
        integers = attribute(self.module, str(source.target)).contiguous().numpy()
        moved = 128 * (integers.dtype == np.uint8)
        if moved:
            integers = (integers.astype(np.int16) - moved).astype(np.int8)
        if isinstance(scale, Node):  # weights, symmetric: zero points lie in the middle
            scales = attribute(self.module, str(scale.target)).float().tolist()
            return Stored(integers, Grid(tuple(scales)))
        zero_point -= moved
        return Stored(integers, Grid((float(scale),), int(zero_point)))

    def _stored_real(self, node: Any) -> Stored | None:
        if isinstance(node, int | float):
            return Stored(np.array(node, np.float32), None)
        if not isinstance(node, Node):
            return None
        if node.op == "get_attr":
            value = attribute(self.module, str(node.target))
        elif op_name(node).startswith("dequantize") and node.args[0].op == "get_attr":  # type: ignore[union-attr]
            value = node.target(*map(self._attribute, node.args), **node.kwargs)  # type: ignore[operator]
        else:
            return None
        return Stored(value.detach().float().contiguous().numpy(), None)

    def _attribute(self, operand: Any) -> Any:
        is_node = isinstance(operand, Node)
        return attribute(self.module, str(operand.target)) if is_node else operand

    def emit(
        self,
        code: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        grid: Grid | None,
        options: str = "",
        *,
        last: bool = False,
        operand: bool = False,
        kind: str = "float32",
        **values: Any,
    ) -> Value:
        """Append an operator whose result, int8 or float32, has this (PyTorch) shape."""
        made = Value(-1, tuple(shape), grid, last, kind)
        stored_as = kind if grid is None else "int8"
        output = self.flat.tensor(made.lies, stored_as, grid, last=last, operand=operand)
        return replace(made, tensor=self.flat.operator(code, inputs, output, options, **values))

    def arranged(self, value: Value, last: bool) -> Value:
        """The value with its channels last, or in second place."""
        rank = len(value.shape)
        if value.last == last or rank < 3:
            return replace(value, last=last and rank > 2)
        if self.lies_alike(value):
            return self.reshaped(value, value.shape, last=last)
        order = channels_last(range(rank)) if last else (0, rank - 1, *range(1, rank - 1))
        axes = self.flat.integers(order)
        inputs = (value.tensor, axes)
        options = "TransposeOptions"
        return self.emit(
            "TRANSPOSE", inputs, value.shape, value.grid, options, last=last, kind=value.kind
        )

    def lies_alike(self, value: Value) -> bool:
        """Whether both orders of the axes are the same in memory."""
        return value.shape[1] == 1 or set(value.shape[2:]) <= {1}

    def reshaped(
        self, value: Value, shape: Sequence[int], *, last: bool = False, growing: int | None = 0
    ) -> Value:
        """The same numbers under another shape; the axis that grows with the batch stays open."""
        made = Value(-1, tuple(shape), value.grid, last, value.kind)
        if made.lies == value.lies:
            return replace(made, tensor=value.tensor)
        sizes = [-1 if axis == growing else size for axis, size in enumerate(made.lies)]
        target = self.flat.integers(sizes)
        new_shape = np.array(sizes, np.int32)
        return self.emit(
            "RESHAPE",
            (value.tensor, target),
            shape,
            value.grid,
            "ReshapeOptions",
            last=last,
            kind=value.kind,
            newShape=new_shape,
        )

    def requantized(self, value: Value, grid: Grid | None, operand: bool = False) -> Value:
        """The value on another grid; in float32 if that is None.

        From integers to integers by a sum with zero: XNNPACK's QUANTIZE multiplies by the ratio of
        the scales with 8 fractional bits, its ADD with 20.

        Args:
            operand: the result is an operand of the operator written next, and no activation.
        """
        if value.grid == grid:
            return value
        inputs: tuple[int, ...]
        if value.grid is not None and grid is not None:
            zero = self.flat.constant(np.zeros(1, np.int8), Grid(grid.scale))
            code, options, inputs = "ADD", "AddOptions", (value.tensor, zero)
        elif grid is None:
            code, options, inputs = "DEQUANTIZE", "DequantizeOptions", (value.tensor,)
        else:
            code, options, inputs = "QUANTIZE", "QuantizeOptions", (value.tensor,)
        return self.emit(code, inputs, value.shape, grid, options, last=value.last, operand=operand)


def unsupported(node: Node, why: str) -> UnsupportedError:
    """An error that names operator and module."""
    return UnsupportedError(
        f"LiteRT cannot run aten.{op_name(node)} in module {layer_of(node)!r}: {why}"
    )


def kind_of(dtype: torch.dtype) -> str:
    """Return the type in which the file computes: integers of any width as int32."""
    if dtype == torch.bool:
        return "bool"
    return "float32" if dtype.is_floating_point else "int32"


def _results(module: GraphModule, signature: Signature, samples: int) -> dict[str, torch.Tensor]:
    """Every tensor in the graph, by node, for inputs of zeros."""
    found: dict[str, torch.Tensor] = {}

    class Watcher(Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, torch.Tensor):
                found[n.name] = value
            return value

    with torch.no_grad():
        Watcher(module).run(*signature.arguments(signature.example(samples)))
    return found


def _computed_from(module: GraphModule, what: str) -> list[str]:
    """Names of integer tensors computed from no input, or from ``"sizes"`` of inputs at most."""
    found: set[Node] = set()
    for node in module.graph.nodes:
        size = what == "sizes" and op_name(node).startswith("sym_size")
        stored = node.op == "get_attr"
        computed = node.op == "call_function" and not op_name(node).startswith("sym_size")
        if size or stored or (computed and found.issuperset(node.all_input_nodes)):
            found.add(node)
    return [node.name for node in found if is_integral(node)]


def is_integral(node: Node) -> bool:
    """Return True if the node's value is a tensor of integers or bools."""
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and not value.dtype.is_floating_point
