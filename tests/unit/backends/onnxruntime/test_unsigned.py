"""Files of integer operators with int8 activations, under the option for exact sums."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from qutils.backends.onnxruntime import runtime as module
from qutils.backends.onnxruntime.runtime import OnnxRuntime
from qutils.backends.onnxruntime.unsigned import with_unsigned_activations
from qutils.errors import UnsupportedError


@pytest.fixture(params=[True, False], ids=["this-cpu", "no-vnni"])
def session(request, monkeypatch):
    """The default session of this CPU, and the one of a CPU without VNNI."""
    if not request.param:
        monkeypatch.setattr(module, "has_vnni", lambda: False)


WEIGHT = np.where(np.random.default_rng(0).random((4, 2, 3, 3)) < 0.5, 127, -127).astype(np.int8)
SHARED = {
    # powers of two: float arithmetic is exact
    "sx": np.float32(2**-6), "zx": np.int8(-5), "sy": np.float32(0.25), "zy": np.int8(7),
    "w": WEIGHT, "sw": np.full(4, 2**-7, np.float32), "zw": np.zeros(4, np.int8),
    "b": np.arange(4, dtype=np.int32), "sb": np.full(4, 2**-13, np.float32),
    "g": np.full((9, 4), 127, np.int8), "sg": np.float32(2**-7), "zg": np.int8(0),
    "c": np.arange(-128, -112, dtype=np.int8).reshape(1, 4, 2, 2),
    "shape": np.array([-1, 9]), "shape4": np.array([-1, 4, 4]),
}  # fmt: skip
CONV = helper.make_node("QLinearConv", ["q", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"], ["y"])
POOL = helper.make_node("MaxPool", ["y"], ["m"], kernel_shape=[2, 2])
QUANTIZE = helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q"])
DEQUANTIZE = helper.make_node("DequantizeLinear", ["z", "sy", "zy"], ["out"])
RESHAPE = helper.make_node("Reshape", ["q", "shape"], ["r"])


def microsoft(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, domain="com.microsoft", **attributes)


YS, G = ["y", "sy", "zy"], ["sx", "zx", "g", "sg", "zg"]
PARTS = {
    "conv": [CONV, helper.make_node("Identity", ["y"], ["z"])],
    "max-pool": [CONV, POOL, helper.make_node("Transpose", ["m"], ["z"], perm=[0, 1, 3, 2])],
    "add-constant": [
        CONV,
        microsoft("QLinearAdd", ["y", "sy", "zy", "c", "sy", "zy", "sy", "zy"], ["z"]),
    ],
    "concat": [CONV, microsoft("QLinearConcat", ["sy", "zy", *YS, *YS], ["z"], axis=1)],
    "average": [
        CONV,
        microsoft("QLinearGlobalAveragePool", [*YS, "sy", "zy"], ["z"], channels_last=0),
    ],
    "sigmoid": [CONV, microsoft("QLinearSigmoid", ["y", "sy", "zy", "sy", "zy"], ["z"])],
    "matmul": [
        RESHAPE,
        helper.make_node("QLinearMatMul", ["r", "sx", "zx", "g", "sg", "zg", "sy", "zy"], ["z"]),
    ],
    "gemm": [RESHAPE, microsoft("QGemm", ["r", *G, "", "sy", "zy"], ["z"])],
}  # fmt: skip


def write(path, nodes, inputs, outputs):
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(*v) for v in inputs],
        [helper.make_tensor_value_info(*v) for v in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in SHARED.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


#: Float operator of each integer one, its inputs ``(data, scale, zero point)``, bias and output.
FLOAT_FORM = {
    "QLinearConv": ("Conv", [(0, 1, 2), (3, 4, 5)], 8, (6, 7)),
    "QLinearMatMul": ("MatMul", [(0, 1, 2), (3, 4, 5)], None, (6, 7)),
    "QGemm": ("Gemm", [(0, 1, 2), (3, 4, 5)], None, (7, 8)),
    "QLinearAdd": ("Add", [(0, 1, 2), (3, 4, 5)], None, (6, 7)),
    "QLinearConcat": ("Concat", [(2, 3, 4), (5, 6, 7)], None, (0, 1)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", [(0, 1, 2)], None, (3, 4)),
    "QLinearSigmoid": ("Sigmoid", [(0, 1, 2)], None, (3, 4)),
}


def float_form(node):
    """The node as DequantizeLinear, a float operator and QuantizeLinear."""
    if node.op_type not in FLOAT_FORM:
        return [node]
    op, inputs, bias, (scale, zero) = FLOAT_FORM[node.op_type]
    name, made, names = node.output[0], [], []
    for index, triple in enumerate(inputs):
        names.append(f"{name}_{index}")
        axis = {"axis": 0} if node.input[triple[1]] == "sw" else {}
        given = [node.input[i] for i in triple]
        made.append(helper.make_node("DequantizeLinear", given, [names[-1]], **axis))
    if bias is not None:
        made.append(helper.make_node("DequantizeLinear", ["b", "sb"], ["bias"], axis=0))
        names.append("bias")
    kept = {a.name: helper.get_attribute_value(a) for a in node.attribute if op == "Concat"}
    made.append(helper.make_node(op, names, [f"{name}_float"], **kept))
    ends = [node.input[scale], node.input[zero]]
    return [*made, helper.make_node("QuantizeLinear", [f"{name}_float", *ends], [name])]


FLOAT = (("x", TensorProto.FLOAT, [2, 2, 4, 4]),), (("out", TensorProto.FLOAT, None),)


@pytest.mark.parametrize("name", PARTS)
def test_results_are_those_of_float_arithmetic_in_every_session(name, tmp_path, session):
    pictures = 9 if name in ("matmul", "gemm") else 2
    ends = (("x", TensorProto.FLOAT, [pictures, 2, 4, 4]),), FLOAT[1]
    nodes = [QUANTIZE, *PARTS[name], DEQUANTIZE]
    path = write(tmp_path / "m.onnx", nodes, *ends)
    whole = write(tmp_path / "f.onnx", [n for node in nodes for n in float_form(node)], *ends)
    x = np.random.default_rng(1).uniform(-2.5, 2.5, (pictures, 2, 4, 4)).astype(np.float32)
    runtime = OnnxRuntime.load(path)
    np.testing.assert_array_equal(runtime.run(x), in_float(whole, x))
    assert runtime.kernels()["QuantizeLinear"] == 1


def in_float(path, x):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options).run(None, {"x": x})[0]


def test_int8_inputs_and_outputs_stay_int8(tmp_path, session):
    ends = (("q", TensorProto.INT8, [1, 2, 4, 4]),), (("y", TensorProto.INT8, None),)
    path = write(tmp_path / "m.onnx", [CONV], *ends)
    q = np.random.default_rng(0).integers(-128, 128, (1, 2, 4, 4)).astype(np.int8)
    y = OnnxRuntime.load(path).run(q)
    assert y.dtype == np.int8
    acc = np.zeros((1, 4, 2, 2), np.int64)
    for row in range(2):
        for column in range(2):
            window = q[:, None, :, row : row + 3, column : column + 3].astype(np.int64) + 5
            acc[..., row, column] = (window * WEIGHT).sum((2, 3, 4)) + SHARED["b"]
    scale = SHARED["sx"] * SHARED["sw"] / SHARED["sy"]
    wanted = np.rint(acc.astype(np.float32) * scale[:, None, None]) + 7
    np.testing.assert_array_equal(y, np.clip(wanted, -128, 127))


def test_an_operator_that_is_not_known_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "has_vnni", lambda: False)
    nodes = [
        QUANTIZE, CONV, helper.make_node("Cast", ["y"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Neg", ["f"], ["out"]),
    ]  # fmt: skip
    path = write(tmp_path / "m.onnx", nodes, *FLOAT)
    with pytest.raises(UnsupportedError, match="cannot run"):
        OnnxRuntime.load(path)


def test_a_file_of_unsigned_activations_is_left_alone(make_layer):
    assert with_unsigned_activations(make_layer("conv3x3").path) is None
