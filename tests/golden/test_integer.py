"""A 5x5 convolution whose accumulators and outputs were worked out by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from qutils import integer
from qutils.backends.onnxruntime.runtime import OnnxRuntime
from qutils.numerics import affine

CASE: dict[str, Any] = json.loads(
    (Path(__file__).parent / "conv" / "sobel_5x5.json").read_text(encoding="utf-8")
)


def tensor(name: str) -> torch.Tensor:
    return torch.tensor(CASE[name])


@pytest.fixture
def acc() -> torch.Tensor:
    x, w, bias = tensor("x")[None, None], tensor("w")[None, None], tensor("bias_integer")[None]
    return integer.conv_accumulate(x, CASE["zero_point_x"], w, bias, padding=1)


@pytest.fixture
def multiplier() -> torch.Tensor:
    return integer.multiplier(tensor("scale_x"), tensor("scale_w"), tensor("scale_y"))


@pytest.fixture
def grid() -> tuple[int, int, int]:
    return CASE["zero_point_y"], CASE["qmin"], CASE["qmax"]


def test_bias():
    found = integer.bias_to_int32(tensor("bias")[None], tensor("scale_x"), tensor("scale_w"))
    assert found.tolist() == [CASE["bias_integer"]]


def test_accumulators(acc):
    assert acc[0, 0].tolist() == CASE["acc"]


def test_requantized(acc, multiplier, grid):
    assert integer.requantize(acc, multiplier, *grid)[0, 0].tolist() == CASE["y"]


def test_requantized_in_fixed_point(acc, multiplier, grid):
    fixed = integer.fixed_point_multiplier(multiplier)
    found = integer.requantize_fixed_point(acc, fixed, *grid)
    assert found[0, 0].tolist() == CASE["y_fixed_point"]


def test_the_same_in_real_numbers(grid):
    scale_x, zero = tensor("scale_x"), torch.tensor(0)
    x = affine.dequantize(tensor("x"), affine.QParams(scale_x, tensor("zero_point_x"), 0, 255))
    w = affine.dequantize(tensor("w"), affine.QParams(tensor("scale_w"), zero, -127, 127))
    y = torch.nn.functional.conv2d(x[None, None], w[None, None], tensor("bias")[None], padding=1)
    zero_point, qmin, qmax = grid
    q = affine.QParams(tensor("scale_y"), torch.tensor(zero_point), qmin, qmax)
    assert affine.quantize(y, q)[0, 0].tolist() == CASE["y"]


def test_onnxruntime_agrees(tmp_path):
    values = {
        "sx": np.float32(CASE["scale_x"]), "zx": np.uint8(CASE["zero_point_x"]),
        "w": np.array(CASE["w"], np.int8)[None, None],
        "sw": np.float32(CASE["scale_w"]), "zw": np.int8(0),
        "sy": np.float32(CASE["scale_y"]), "zy": np.uint8(CASE["zero_point_y"]),
        "b": np.array([CASE["bias_integer"]], np.int32),
    }  # fmt: skip
    inputs = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"]
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", inputs, ["y"], pads=[1, 1, 1, 1])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 1, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = tmp_path / "conv.onnx"
    onnx.save(model, path)
    x = np.array(CASE["x"], np.uint8)[None, None]
    assert OnnxRuntime.load(path).run(x)[0, 0].tolist() == CASE["y"]
