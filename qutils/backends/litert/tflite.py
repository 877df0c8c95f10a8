"""A ``.tflite`` file under construction: tensors, operators, and the bytes they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qutils.backends.litert import BACKEND
from qutils.errors import not_installed

#: First bytes of a file, after the offset of its root table.
IDENTIFIER = b"TFL3"
#: The names of tensors that lie with their channels last end so; the others lie as in PyTorch.
CHANNELS_LAST = ".last"
#: In the names of operands that were moved to the grid of a result: no results themselves.
OPERAND = ".operand"
_SCHEMA = 3  # version of the format
_ALIGNMENT = 16  # bytes; kernels read constants where they lie in the file
_KINDS = {"float32": "FLOAT32", "int8": "INT8", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}

#: Versions of the operators that take int8; the others are 1.
_VERSIONS = {
    "ABS": 2,
    "ADD": 2,
    "BATCH_MATMUL": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "DEQUANTIZE": 2,
    "FULLY_CONNECTED": 4,
    "GATHER": 2,
    "GELU": 2,
    "LEAKY_RELU": 2,
    "LOGISTIC": 2,
    "LOG_SOFTMAX": 2,
    "MAXIMUM": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "MINIMUM": 2,
    "MIRROR_PAD": 2,
    "MUL": 2,
    "PAD": 2,
    "PADV2": 2,
    "QUANTIZE": 2,
    "REDUCE_MAX": 2,
    "REDUCE_MIN": 2,
    "RELU": 2,
    "RELU6": 2,
    "RESIZE_NEAREST_NEIGHBOR": 3,
    "SOFTMAX": 2,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "SUM": 2,
    "TANH": 2,
    "TRANSPOSE": 2,
}
_TRANSPOSE_6D = 6  # version of TRANSPOSE that takes six axes


@dataclass(frozen=True)
class Grid:
    """What int8 or int32 values mean, ``scale (q - zero_point)``; one scale, or one a channel."""

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int = 0


@dataclass
class FlatModel:
    """Tensors and operators of one graph, in order of execution."""

    schema: ModuleType = field(default_factory=lambda: _schema())
    _tensors: list[Any] = field(default_factory=list)
    _operators: list[Any] = field(default_factory=list)
    _codes: dict[tuple[str, int], int] = field(default_factory=dict)
    _buffers: list[bytes] = field(default_factory=lambda: [b""])  # the first is that of no data
    _shared: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str,
        grid: Grid | None = None,
        name: str = "",
        last: bool = False,
        buffer: int = 0,
        open_axis: int | None = None,
        operand: bool = False,
    ) -> int:
        """A new tensor; returns its index. ``open_axis`` grows with the batch: -1 in the file."""
        s = self.schema
        signature = [-1 if axis == open_axis else size for axis, size in enumerate(shape)]
        tensor = s.TensorT(
            shape=np.array(shape, np.int32),
            type=getattr(s.TensorType, _KINDS[dtype]),
            buffer=buffer,
            name=name or f"{len(self._tensors):x}" + OPERAND * operand + CHANNELS_LAST * last,
            hasRank=True,
        )
        if open_axis is not None:
            tensor.shapeSignature = np.array(signature, np.int32)
        if grid is not None:
            tensor.quantization = s.QuantizationParametersT(
                scale=np.array(grid.scale, np.float32),
                zeroPoint=np.full(len(grid.scale), grid.zero_point, np.int64),
                quantizedDimension=grid.axis,
            )
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def expose(self, tensor: int, name: str) -> int:
        """Name a tensor that the file hands out, its batch open; returns its index."""
        table = self._tensors[tensor]
        table.name = name
        table.shapeSignature = np.array([-1, *table.shape[1:]], np.int32)
        return tensor

    def constant(self, values: NDArray[Any], grid: Grid | None = None) -> int:
        """A stored tensor; equal ones are stored once."""
        data = np.ascontiguousarray(values)
        key = (data.shape, str(data.dtype), data.tobytes(), grid)
        if key not in self._shared:
            self._buffers.append(data.tobytes())
            buffer = len(self._buffers) - 1
            self._shared[key] = self.tensor(data.shape, str(data.dtype), grid, buffer=buffer)
        return self._shared[key]

    def integers(self, values: Sequence[int]) -> int:
        """A stored int32 tensor, of axes or sizes."""
        return self.constant(np.array(values, np.int32))

    def operator(
        self, code: str, inputs: Sequence[int], output: int, options: str = "", **values: Any
    ) -> int:
        """Append an operator; returns ``output``. ``options`` names its table of attributes."""
        s = self.schema
        version = _VERSIONS.get(code, 1)
        if code == "TRANSPOSE" and len(self._tensors[output].shape) > 5:
            version = _TRANSPOSE_6D
        operator = s.OperatorT(
            opcodeIndex=self._codes.setdefault((code, version), len(self._codes)),
            inputs=np.array(inputs, np.int32),
            outputs=np.array([output], np.int32),
        )
        if options:
            operator.builtinOptionsType = getattr(s.BuiltinOptions, options)
            operator.builtinOptions = getattr(s, f"{options}T")(**values)
        self._operators.append(operator)
        return output

    def to_bytes(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The whole file."""
        import flatbuffers

        s = self.schema
        graph = s.SubGraphT(
            tensors=self._tensors,
            inputs=np.array(inputs, np.int32),
            outputs=np.array(outputs, np.int32),
            operators=self._operators,
            name="main",
        )
        model = s.ModelT(
            version=_SCHEMA,
            operatorCodes=[_code(s, code, version) for code, version in self._codes],
            subgraphs=[graph],
            description="qutils",
            buffers=[_Buffer(s, data) for data in self._buffers],
        )
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())


def _schema() -> ModuleType:
    """The tables of the format, as LiteRT's package declares them."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise not_installed("ai_edge_litert", BACKEND.install_extra, error) from error
    return schema_py_generated  # type: ignore[no-any-return]


def _code(s: ModuleType, code: str, version: int) -> Any:
    number = getattr(s.BuiltinOperator, code)
    # Files older than 2020 held one byte, which small numbers still fill.
    return s.OperatorCodeT(
        deprecatedBuiltinCode=min(number, 127), builtinCode=number, version=version
    )


class _Buffer:
    """Data of a constant, aligned as the format's schema asks, which its generator forgets."""

    def __init__(self, schema: ModuleType, data: bytes) -> None:
        self.schema, self.data = schema, data

    def Pack(self, builder: Any) -> Any:  # noqa: N802 (the generator's name)
        """Write the data, then the table that points at it."""
        vector = None
        if self.data:
            builder.StartVector(1, len(self.data), _ALIGNMENT)
            builder.head = builder.Head() - len(self.data)
            builder.Bytes[builder.Head() : builder.Head() + len(self.data)] = self.data
            vector = builder.EndVector()
        self.schema.BufferStart(builder)
        if vector is not None:
            self.schema.BufferAddData(builder, vector)
        return self.schema.BufferEnd(builder)
