"""Single quantized layers as ONNX files, with their result in exact integer arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

# layer -> (input shape, weight shape, groups, padding); a Gemm has no groups
LAYERS = {
    "conv3x3": ((2, 32, 8, 8), (32, 32, 3, 3), 1, 1),
    "conv1x1": ((2, 64, 8, 8), (32, 64, 1, 1), 1, 0),
    "depthwise": ((2, 32, 8, 8), (32, 1, 3, 3), 32, 1),
    "gemm": ((4, 64), (10, 64), 0, 0),
}
SX, SW = np.float32(0.02), np.float32(0.01)


@dataclass(frozen=True)
class Layer:
    path: Path
    x: np.ndarray  # float input, on the grid of its scale
    expected: np.ndarray  # float output, from exact integers
    sy: np.float32


def _integers(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Input, weights and bias as integers near their extremes, and the exact accumulator."""
    rng = np.random.default_rng(0)
    x_shape, w_shape, groups, padding = LAYERS[kind]
    x = np.where(rng.random(x_shape) < 0.7, 255, rng.integers(0, 256, x_shape))
    w = np.where(rng.random(w_shape) < 0.6, 127, -127)
    b = rng.integers(-3000, 3000, w_shape[0])
    if kind == "gemm":
        return x, w, b, x @ w.T + b
    as_double = [torch.as_tensor(v, dtype=torch.float64) for v in (x, w, b)]
    acc = torch.nn.functional.conv2d(*as_double, padding=padding, groups=groups)
    return x, w, b, acc.numpy().astype(np.int64)


def _nodes(kind: str) -> list[onnx.NodeProto]:
    _, w_shape, groups, padding = LAYERS[kind]
    if kind == "gemm":
        core = helper.make_node("Gemm", ["xd", "wd", "bd"], ["y"], transB=1)
    else:
        core = helper.make_node(
            "Conv",
            ["xd", "wd", "bd"],
            ["y"],
            group=groups,
            pads=[padding] * 4,
            kernel_shape=list(w_shape[2:]),
        )
    return [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wd"]),
        helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["bd"]),
        core,
        helper.make_node("QuantizeLinear", ["y", "sy", "zy"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "sy", "zy"], ["logits"]),
    ]


@pytest.fixture
def make_layer(tmp_path: Path) -> Callable[[str], Layer]:
    """Write one Q/DQ layer (uint8 activations, int8 weights, int32 bias) to a file."""

    def make(kind: str) -> Layer:
        x, w, b, acc = _integers(kind)
        sy = np.float32(np.abs(acc).max() * SX * SW / 100)
        y = np.clip(np.rint(acc.astype(np.float32) * (SX * SW / sy)) + 128, 0, 255) - 128
        values = {
            "sx": SX,
            "zx": np.uint8(0),
            "w": w.astype(np.int8),
            "sw": SW,
            "zw": np.int8(0),
            "b": b.astype(np.int32),
            "sb": SX * SW,
            "zb": np.int32(0),
            "sy": sy,
            "zy": np.uint8(128),
        }
        graph = helper.make_graph(
            _nodes(kind),
            kind,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *x.shape[1:]])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(v), name) for name, v in values.items()],
        )
        path = tmp_path / f"{kind}.onnx"
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
        return Layer(path, (x * SX).astype(np.float32), y.astype(np.float32) * sy, sy)

    return make


def save_graph(path: Path, nodes: list[onnx.NodeProto], inputs: dict, outputs: list[str]) -> Path:
    """Write a small float graph without weights: ``inputs`` is name -> shape."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.fixture
def save() -> Callable[..., Path]:
    return save_graph
