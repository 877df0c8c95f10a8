"""A float network of three layers and Q/DQ files of it, each lacking something or nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SHAPE = (1, 16, 12, 12)


def _pair(name: str, scale: str = "s", zero: str = "z") -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}_q"], f"q_{name}"),
        helper.make_node("DequantizeLinear", [f"{name}_q", scale, zero], [f"{name}_d"]),
    ]


def _save(path: Path, nodes: list[onnx.NodeProto], values: dict, output: str) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *SHAPE[1:]])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in values.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


#: What each file lacks, and the reason that must be named for the operator that stays in float.
LACKS = {
    "nothing": None,
    "float-weight": None,  # ONNX Runtime quantizes it
    "input": "reads the network's input, which has no QuantizeLinear",
    "output": "no QuantizeLinear follows it",
    "per-axis-input": "its input is quantized per axis",
    "one-type": "it reads uint8 and its QuantizeLinear writes int8",
    "relu-zero-point": r"Relu 'act' after it cannot be absorbed: .* zero_point is 128, not 0",
    "two-readers": "Erf 'second' reads its result before a QuantizeLinear does",
}


def _int8(lack: str, path: Path) -> Path:
    """``x -> conv 16 to 16 (-> relu) -> y`` with Q/DQ around it, except for what it lacks."""
    rng = np.random.default_rng(0)
    values = {
        "w": rng.integers(-127, 128, (16, 16, 3, 3)).astype(np.int8),
        "f": rng.standard_normal((16, 16, 3, 3)).astype(np.float32),
        "s": np.float32(0.05),
        "z": np.uint8(128),
        "zw": np.int8(0),
        "many": np.full(16, 0.05, np.float32),
        "zeros": np.full(16, 128, np.uint8),
        "b": np.ones(16, np.float32),
    }
    many = ("many", "zeros")
    nodes = [] if lack == "input" else _pair("x", *(many if lack == "per-axis-input" else ()))
    nodes.append(helper.make_node("DequantizeLinear", ["w", "s", "zw"], ["wd"]))
    inputs = ["x" if lack == "input" else "x_d", "f" if lack == "float-weight" else "wd"]
    if lack == "per-axis-input":  # without a bias, the runtime builds a kernel that cannot run
        inputs.append("b")
    nodes.append(helper.make_node("Conv", inputs, ["y"], "layer", pads=[1] * 4))
    last = "y"
    if lack == "relu-zero-point":
        nodes.append(helper.make_node("Relu", ["y"], ["r"], "act"))
        last = "r"
    if lack == "two-readers":
        nodes.append(helper.make_node("Erf", ["y"], ["e"], "second"))
        nodes += _pair("y")
        nodes.append(helper.make_node("Add", ["e", "y_d"], ["out"], "sum"))
        return _save(path, nodes, values, "out")
    if lack == "output":
        return _save(path, nodes, values, last)
    nodes += _pair(last, *{"one-type": ("s", "zw"), "per-axis-output": many}.get(lack, ()))
    if lack == "one-type":  # read twice, so that the runtime does not make it uint8 itself
        nodes.append(helper.make_node("DequantizeLinear", ["y_q", "s", "zw"], ["again"]))
        nodes.append(helper.make_node("Add", ["y_d", "again"], ["out"], "sum"))
        return _save(path, nodes, values, "out")
    return _save(path, nodes, values, f"{last}_d")


@pytest.fixture
def int8(tmp_path: Path) -> Callable[[str], Path]:
    """Write the file that lacks this; see ``LACKS``. ``per-axis-output`` loads and cannot run."""
    return lambda lack="nothing": _int8(lack, tmp_path / f"{lack}.onnx")


@pytest.fixture
def fp32(tmp_path: Path) -> Path:
    """The same convolution in float, and a product: ``[n, 16, 12, 12] -> [n, 10]``."""
    rng = np.random.default_rng(0)
    values = {
        "f": rng.standard_normal((16, 16, 3, 3)).astype(np.float32),
        "g": rng.standard_normal((16 * 144, 10)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "f"], ["y"], "layer", pads=[1] * 4),
        helper.make_node("Flatten", ["y"], ["r"]),
        helper.make_node("MatMul", ["r", "g"], ["out"], "product"),
    ]
    return _save(tmp_path / "fp32.onnx", nodes, values, "out")
