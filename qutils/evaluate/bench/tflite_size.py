"""What the bytes of a ``.tflite`` file are: stored tensors by the operators that read them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qutils.backends import BACKENDS
from qutils.backends.shared.runtime import require
from qutils.errors import DataError
from qutils.reading import reading

#: Bytes 4 to 8 of a file.
_IDENTIFIER = b"TFL3"
#: Inputs that are weights and biases, by operator; an LSTM's are named by its schema.
_WEIGHTS: dict[str, tuple[int, ...]] = {
    "BATCH_MATMUL": (0, 1),
    "CONV_2D": (1,),
    "CONV_3D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "FULLY_CONNECTED": (1,),
    "TRANSPOSE_CONV": (1,),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": tuple(range(1, 9)),
}
_BIASES: dict[str, tuple[int, ...]] = {
    "CONV_2D": (2,),
    "CONV_3D": (2,),
    "DEPTHWISE_CONV_2D": (2,),
    "FULLY_CONNECTED": (2,),
    "TRANSPOSE_CONV": (3,),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": tuple(range(12, 16)),
}
#: Operators between a stored tensor and its use that keep its meaning.
_THROUGH = frozenset({"DEQUANTIZE", "QUANTIZE", "TRANSPOSE", "RESHAPE", "CAST"})
_SCALE_BYTES, _ZERO_POINT_BYTES = 4, 8


def parts_of(path: Path) -> tuple[dict[str, int], int]:
    """Return the bytes of ``weight``, ``bias``, ``qparam`` and ``other``, and the weights' count.

    Raises:
        DataError: the file is missing, truncated or corrupt.
        MissingPackageError: LiteRT's Python package is not installed.
    """
    schema = require("ai_edge_litert.schema_py_generated", BACKENDS["litert"].install)
    model = _read(path, schema)
    with reading(path, "Export it again"):
        return _counted(model, schema)


def _counted(model: Any, schema: Any) -> tuple[dict[str, int], int]:
    """Return the bytes by role and the number of weights of a decoded file."""
    names = {
        number: name for name, number in vars(schema.BuiltinOperator).items() if name[0] != "_"
    }
    found = dict.fromkeys(("weight", "bias", "qparam", "other"), 0)
    roles: dict[int, str] = {}  # of buffers, each counted once
    counts: dict[int, int] = {}
    for graph in model.subgraphs:
        for role, tensor in _roles(model, graph, names):
            roles.setdefault(tensor.buffer, role)
            counts[tensor.buffer] = math.prod(int(size) for size in _listed(tensor.shape))
        for tensor in graph.tensors:
            q = tensor.quantization
            if q is not None:
                found["qparam"] += _SCALE_BYTES * len(_listed(q.scale))
                found["qparam"] += _ZERO_POINT_BYTES * len(_listed(q.zeroPoint))
    for place, buffer in enumerate(model.buffers):
        found[roles.get(place, "other")] += _bytes(buffer)
    return found, sum(counts[place] for place, role in roles.items() if role == "weight")


def _read(path: Path, schema: Any) -> Any:
    if not path.is_file():
        raise DataError(f"{path} is missing. Export the model first, or correct the path.")
    with reading(path, "Export it again"):
        data = path.read_bytes()
        if data[4:8] != _IDENTIFIER:
            raise ValueError("it does not begin as one")
        return schema.ModelT.InitFromPackedBuf(data, 0)


def _roles(model: Any, graph: Any, names: dict[int, str]) -> Iterator[tuple[str, Any]]:
    """The stored tensors that operators read as weights, then those that are biases."""
    ops = [
        (names.get(_code(model.operatorCodes[op.opcodeIndex]), ""), op) for op in graph.operators
    ]
    made = {int(output): (name, op) for name, op in ops for output in op.outputs}
    for role, table in (("weight", _WEIGHTS), ("bias", _BIASES)):
        for name, op in ops:
            for place in table.get(name, ()):
                index = int(op.inputs[place]) if place < len(op.inputs) else -1
                index = _source(index, made)
                if index >= 0 and _bytes(model.buffers[graph.tensors[index].buffer]):
                    yield role, graph.tensors[index]


def _source(index: int, made: Mapping[int, tuple[str, Any]]) -> int:
    """Return the tensor that a chain of operators which keep its meaning starts from.

    Raises:
        ValueError: the chain is a loop, as in a corrupt file.
    """
    for _ in range(len(made) + 1):
        if index not in made or made[index][0] not in _THROUGH:
            return index
        index = int(made[index][1].inputs[0])
    raise ValueError("its operators form a loop")


def _code(code: Any) -> int:
    """The number of an operator; old files keep it in a byte."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _bytes(buffer: Any) -> int:
    """Bytes of stored values, in the table or after it, as in files of more than 2 GB."""
    return len(_listed(buffer.data)) or (int(buffer.size) if int(buffer.size) > 1 else 0)


def _listed(values: Any) -> Any:
    return () if values is None else values
