"""What the bytes of a model file are: weights, biases, quantization parameters, graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qutils.backends.shared.onnx_file import read_onnx
from qutils.backends.shared.runtime import require
from qutils.errors import DataError
from qutils.evaluate.bench.tflite_size import parts_of

#: Endings of the files whose weights are counted.
SIZED = (".onnx", ".tflite")
#: Inputs that are weights and biases, by operator.
_WEIGHTS = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "ConvInteger": (1,),
    "GRU": (1, 2),
    "Gemm": (0, 1),
    "LSTM": (1, 2),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "MatMulNBits": (1,),
    "QLinearConv": (3,),
    "QLinearMatMul": (0, 3),
    "QGemm": (0, 3),
    "RNN": (1, 2),
}
_BIASES = {
    "Conv": (2,),
    "ConvTranspose": (2,),
    "GRU": (3,),
    "Gemm": (2,),
    "LSTM": (3,),
    "QGemm": (6,),
    "QLinearConv": (8,),
    "RNN": (3,),
}
_QPARAMS = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "MatMulNBits": (2, 3),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
}
#: Operators between a stored tensor and its use that keep its meaning.
_THROUGH = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "Transpose", "Reshape", "Identity", "Cast"}
)
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Size:
    """Bytes of a model file; the five parts sum to ``file_bytes``."""

    file_bytes: int  # with external data
    weight_bytes: int
    bias_bytes: int
    qparam_bytes: int  # scales and zero points
    other_tensor_bytes: int
    weight_count: int

    @property
    def graph_bytes(self) -> int:
        """Everything that is no tensor: nodes, names, shapes, metadata."""
        tensors = self.weight_bytes + self.bias_bytes + self.qparam_bytes + self.other_tensor_bytes
        return self.file_bytes - tensors

    @property
    def float_weight_bytes(self) -> int:
        """The same weights as float32."""
        return _FLOAT_BYTES * self.weight_count

    @property
    def weight_ratio(self) -> float:
        """Bytes of the weights over the same weights as float32; NaN without weights."""
        return self.weight_bytes / self.float_weight_bytes if self.weight_count else float("nan")


def size_of(path: str | Path) -> Size:
    """Break an ONNX or ``.tflite`` file down into weights, biases, quantizers and graph [bytes].

    Weights are the stored tensors that feed a convolution or matrix product, directly or
    through DequantizeLinear; biases likewise.

    Raises:
        DataError: the file is missing, truncated or corrupt.
        MissingPackageError: onnx, or LiteRT's package, is not installed.
    """
    file = Path(path)
    if file.suffix == ".tflite":
        parts, count = parts_of(file)
        return Size(
            file_bytes=file.stat().st_size,
            weight_bytes=parts["weight"],
            bias_bytes=parts["bias"],
            qparam_bytes=parts["qparam"],
            other_tensor_bytes=parts["other"],
            weight_count=count,
        )
    model = read_onnx(file, external=False)
    stored = _stored_tensors(model.graph)
    sources = {out: node for node in model.graph.node for out in node.output}
    roles: dict[str, str] = {}
    tables = (("weight", _WEIGHTS), ("bias", _BIASES), ("qparam", _QPARAMS))
    for role, table in tables:  # the first role counts: a tensor is counted once
        for node in model.graph.node:
            for index in table.get(node.op_type, ()):
                if index < len(node.input):
                    origin = _origin(node.input[index], sources)
                    if origin in stored:
                        roles.setdefault(origin, role)
    bytes_of = dict.fromkeys(("weight", "bias", "qparam", "other"), 0)
    for name, tensor in stored.items():
        bytes_of[roles.get(name, "other")] += _bytes(tensor)
    return Size(
        file_bytes=file.stat().st_size + _external_bytes(file, stored),
        weight_bytes=bytes_of["weight"],
        bias_bytes=bytes_of["bias"],
        qparam_bytes=bytes_of["qparam"],
        other_tensor_bytes=bytes_of["other"],
        weight_count=sum(_count(stored[n]) for n, role in roles.items() if role == "weight"),
    )


def weight_bytes(path: str | Path) -> int:
    """Bytes of the weights of an ONNX or ``.tflite`` file: see ``size_of``."""
    return size_of(path).weight_bytes


def _stored_tensors(graph: Any) -> dict[str, Any]:
    """Initializers and values of Constant nodes, by name."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensors[node.output[0]] = attribute.t
    return tensors


def _origin(name: str, sources: dict[str, Any]) -> str:
    """The tensor behind ``name``, back through operators that keep its meaning."""
    while name in sources and sources[name].op_type in _THROUGH:
        name = sources[name].input[0]
    return name


def _count(tensor: Any) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def _bytes(tensor: Any) -> int:
    """Bytes of a tensor's values; 4-bit types are packed two to a byte."""
    onnx = require("onnx", "pip install onnx")
    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    if kind in ("INT4", "UINT4", "FLOAT4E2M1"):
        return (_count(tensor) + 1) // 2
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(_count(tensor) * itemsize)


def _external_bytes(file: Path, stored: dict[str, Any]) -> int:
    """Bytes of the files beside the model that hold its tensors."""
    names = {
        entry.value
        for tensor in stored.values()
        for entry in tensor.external_data
        if entry.key == "location"
    }
    missing = [name for name in sorted(names) if not (file.parent / name).is_file()]
    if missing:
        raise DataError(f"{file} keeps tensors in {missing[0]}, which is missing beside it")
    return sum((file.parent / name).stat().st_size for name in names)
