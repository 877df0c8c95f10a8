"""One node of an ONNX graph with its operands, as the converters of operators see it."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import NodeProto
from torch import Tensor, nn

from qutils.errors import UnsupportedError
from qutils.importers.onnx.values import Batch, Size, Value


def refuse(node: NodeProto, reason: str) -> UnsupportedError:
    """Return the error for a node that cannot be imported."""
    return UnsupportedError(
        f"operator {node.op_type} (node {node.name or node.output[0]}) cannot be imported: {reason}"
    )


class Function(nn.Module):
    """``function(*operands, **settings)`` as a module with a name.

    Where a setting is a ``Batch``, operands more are passed first: inputs of the network whose axes
    are those that it depends on, ``places[name] = (operand, axis)``.
    """

    def __init__(self, function: Callable[..., Any], settings: dict[str, Any]) -> None:
        super().__init__()
        self.function, self.settings = function, settings
        self.needs = _open_axes(settings)
        self.places: dict[str, tuple[int, int]] = {}

    def forward(self, *operands: Tensor) -> Any:
        if not self.needs:
            return self.function(*operands, **self.settings)
        sizes = {name: operands[i].shape[axis] for name, (i, axis) in self.places.items()}
        first = 1 + max(i for i, _ in self.places.values())
        return self.function(*operands[first:], **_with_sizes(self.settings, sizes))

    def extra_repr(self) -> str:
        """Return the function and its settings."""
        said = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{getattr(self.function, '__name__', self.function)}, {said}".rstrip(", ")


def _open_axes(setting: Any) -> frozenset[str]:
    """Names of the open axes that a setting depends on."""
    if isinstance(setting, Batch):
        return setting.names
    members = setting.values() if isinstance(setting, dict) else setting
    if isinstance(setting, dict | list | tuple):
        return frozenset[str]().union(*map(_open_axes, members))
    return frozenset()


def _with_sizes(setting: Any, sizes: Mapping[str, int]) -> Any:
    if isinstance(setting, dict):
        return {name: _with_sizes(value, sizes) for name, value in setting.items()}
    if isinstance(setting, list | tuple):
        return type(setting)(_with_sizes(value, sizes) for value in setting)
    return setting.at(sizes) if isinstance(setting, Batch) else setting


@dataclass(frozen=True)
class Made:
    """What a node becomes: a module, and the values that it is called with.

    ``before`` is applied to the first operand first, padding say; ``after`` to the result.
    """

    module: nn.Module
    operands: tuple[Value, ...]
    before: nn.Module | None = None
    after: nn.Module | None = None


def made(function: Callable[..., Any], /, *operands: Value, **settings: Any) -> Made:
    """Return a node as a function of values, with settings as keywords."""
    return Made(Function(function, settings), operands)


@dataclass(frozen=True)
class Call:
    """A node, its operands (None if absent) and the version of its operator set.

    ``fixed_batch`` is the batch size that the file declares, None if its batch is open.
    """

    node: NodeProto
    operands: tuple[Value | None, ...]
    opset: int
    path: str = ""  # dotted name of the module that it becomes
    fixed_batch: int | None = None

    @property
    def op(self) -> str:
        """Type of the operator."""
        return str(self.node.op_type)

    @property
    def x(self) -> Value:
        """The first operand."""
        return self.operand(0)

    def refuse(self, reason: str) -> UnsupportedError:
        """Return the error for this node."""
        return refuse(self.node, reason)

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute's value: strings as str."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        if found is None:
            return default
        value = onnx.helper.get_attribute_value(found)
        return value.decode() if isinstance(value, bytes) else value

    def has(self, index: int) -> bool:
        """Whether an optional operand is given."""
        return index < len(self.operands) and self.operands[index] is not None

    def operand(self, index: int) -> Value:
        """Return an operand that has to be given."""
        value = self.operands[index] if index < len(self.operands) else None
        if value is None:
            raise self.refuse(f"its input {index} is missing")
        return value

    def given(self) -> tuple[Value, ...]:
        """Return every operand that is given."""
        return tuple(value for value in self.operands if value is not None)

    def constant(self, index: int) -> Tensor:
        """Return an operand that has to be stored in the file, or computed from such."""
        value = self.operand(index)
        if not value.is_static:
            raise self.refuse(f"its input {value.name} is computed from the network's input")
        if not value.is_constant:
            raise self.refuse(f"its input {value.name} depends on the size of the batch")
        tensor: Tensor = value.probes[0]
        return tensor

    def keep(self, name: str, tensor: Tensor) -> Value:
        """Return a tensor that the module is to store beside the node's operands."""
        return Value(f"{self.path}.{name}", (tensor,) * len(self.x.probes))

    def optional(self, index: int) -> Tensor | None:
        """Return ``constant(index)``, None if it is absent or empty."""
        if not self.has(index):
            return None
        tensor = self.constant(index)
        return tensor if tensor.numel() else None

    def sizes(self, index: int) -> list[Size]:
        """Return an operand that lists integers; each may depend on the batch."""
        value = self.operand(index)
        if not value.is_static:
            raise self.refuse(f"its input {value.name} is computed from the network's input")
        columns = [probe.reshape(-1).tolist() for probe in value.probes]
        if len({len(column) for column in columns}) != 1:
            raise self.refuse(f"the length of its input {value.name} depends on the batch")
        try:
            return [
                column[0] if len(columns) == 1 else Batch.through(column)
                for column in zip(*columns, strict=True)
            ]
        except (AssertionError, TypeError) as error:
            raise self.refuse(f"its input {value.name} is no multiple of the batch") from error

    def numbers(self, name: str, index: int) -> list[Any] | None:
        """Return what is an attribute in old operator sets and an input in new ones."""
        tensor = self.optional(index)
        if tensor is not None:
            found: list[Any] = tensor.reshape(-1).tolist()
            return found
        value = self.attribute(name)
        if value is None:
            return None
        return [value] if isinstance(value, numbers.Number) else list(value)

    def sides(self, value: Value | None = None) -> list[int]:
        """Return the sizes in space of ``[N, C, *sides]``.

        Raises:
            UnsupportedError: one depends on the batch.
        """
        return self.settled((value or self.x).shape[2:])

    def settled(self, sizes: Sequence[Size]) -> list[int]:
        """Return sizes that may not depend on the batch."""
        if any(isinstance(size, Batch) for size in sizes):
            raise self.refuse("a size that it needs depends on the batch")
        return [int(size) for size in sizes]  # type: ignore[arg-type]


#: Turns a node into a module, or into a value that it passes on; or refuses it.
Converter = Callable[[Call], Made | Value]


def is_number(value: Value) -> bool:
    """Whether a value is one stored float."""
    return value.is_constant and value.probes[0].numel() == 1


def as_float(tensor: Tensor) -> float:
    """Return the only element of a tensor."""
    return float(tensor.reshape(()))


def torch_dtype(kind: int) -> torch.dtype:
    """Return the type of an ONNX type; floats of every width become float32."""
    name = onnx.TensorProto.DataType.Name(kind)
    dtype = _DTYPES.get(name)
    if dtype is None:
        raise UnsupportedError(f"tensors of type {name.lower()} cannot be imported")
    return dtype


_DTYPES = {
    **dict.fromkeys(("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"), torch.float32),
    "INT64": torch.int64,
    "INT32": torch.int32,
    "INT16": torch.int16,
    "INT8": torch.int8,
    "UINT8": torch.uint8,
    "UINT16": torch.uint16,
    "UINT32": torch.uint32,
    "UINT64": torch.uint64,
    "BOOL": torch.bool,
}
