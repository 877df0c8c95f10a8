"""A float model and the INT8 file ONNX Runtime's own tool makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static


class Files(NamedTuple):
    fp32: Path
    int8: Path
    conv_weights: int
    gemm_weights: int
    biases: int


class _Batches(CalibrationDataReader):
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._batches = iter([{"x": rng.random((4, 1, 8, 8), np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self._batches, None)


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Files:
    """Conv 1 -> 32 (3x3), ReLU, global pool, Gemm 32 -> 10; input ``[n, 1, 8, 8]``."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (32, 1, 3, 3), "b1": (32,), "w2": (10, 32), "b2": (10,)}
    tensors = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["logits"], transB=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(nodes, "small", [x], [y], tensors)
    folder = tmp_path_factory.mktemp("models")
    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), fp32)
    quantize_static(
        fp32, int8, _Batches(), weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8
    )
    return Files(fp32, int8, conv_weights=288, gemm_weights=320, biases=42)
