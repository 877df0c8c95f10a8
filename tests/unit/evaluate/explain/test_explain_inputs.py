"""Files of every kind, and the inputs that they are run on."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from qutils.errors import InvalidInputError
from qutils.evaluate.explain import explain
from tests.unit.evaluate.explain.files import save


def test_a_dynamically_quantized_file_is_called_one(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        "w": rng.integers(-127, 128, (64, 64)).astype(np.int8),
        "s": np.float32(0.01),
        "z": np.int8(0),
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
        helper.make_node("MatMulInteger", ["q", "w", "qz", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["qs", "s"], ["m"]),
        helper.make_node("Mul", ["f", "m"], ["h"]),
        helper.make_node("Erf", ["h"], ["y"], name="last"),
    ]
    found = explain(save(tmp_path / "m.onnx", nodes, tensors, ["n", 64]), runs=5)
    assert found.quantized
    product = next(one for one in found.profile.executed if "MatMul" in one.op)
    assert (product.kind, product.multiply_adds) == ("integer", 64 * 64)
    reasons = {one.executed.op: one.reason for one in found.float_ops}
    assert "dynamic quantization" in reasons["Erf"]


@pytest.mark.parametrize(
    ("shape", "kind", "given", "batch"),
    [
        (["n", 3, "h", "w"], "FLOAT", {"sizes": (3, 9, 7)}, (1, 3, 9, 7)),
        ([4, 3, 8, 8], "FLOAT", {}, (4, 3, 8, 8)),
        (["n", 3, 8, 8], "FLOAT16", {"batch": 2}, (2, 3, 8, 8)),
    ],
    ids=["open-sides", "fixed-batch", "float16"],
)
def test_inputs_of_every_kind(tmp_path, shape, kind, given, batch):
    nodes = [helper.make_node("Sin" if kind == "FLOAT" else "Neg", ["x"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, {}, shape, getattr(TensorProto, kind))
    assert explain(path, runs=5, **given).profile.executed[-1].output_shape == batch


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        (["n", 3, "h", "w"], {}, "give an array, or the sizes of all 3 .* --sizes 64x64x64"),
        (["n", 3, "h", "w"], {"sizes": (9, 7)}, "the sizes of all 3"),
        (["n", 3, 8, 8], {"sizes": (3, 9, 9)}, r"expects \[n, 3, 8, 8\]"),
        ([4, 3, 8, 8], {"batch": 1}, "its batch size is fixed, give 4"),
    ],
    ids=["open", "too-few", "other", "fixed"],
)
def test_inputs_that_cannot_be_made(tmp_path, shape, given, message):
    path = save(tmp_path / "m.onnx", [helper.make_node("Sin", ["x"], ["y"])], {}, shape)
    with pytest.raises(InvalidInputError, match=message):
        explain(path, runs=5, **given)


def test_files_of_other_kinds_and_of_other_networks(int8, fp32, tmp_path):
    with pytest.raises(InvalidInputError, match=r"net\.tflite is no \.onnx file"):
        explain(tmp_path / "net.tflite")
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    other = save(tmp_path / "other.onnx", nodes, {}, ["n", 5])
    with pytest.raises(InvalidInputError, match="give the float file of the same network"):
        explain(int8(), other, runs=5)
