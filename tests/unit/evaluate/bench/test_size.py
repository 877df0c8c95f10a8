from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qutils.errors import DataError
from qutils.evaluate.bench.size import size_of, weight_bytes


def save(path, nodes, tensors, **options):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, path, **options)
    return path


def test_float_file(files):
    size = size_of(files.fp32)
    weights = files.conv_weights + files.gemm_weights
    assert size.weight_bytes == size.float_weight_bytes == 4 * weights
    assert size.bias_bytes == 4 * files.biases
    assert size.qparam_bytes == size.other_tensor_bytes == 0
    assert size.weight_ratio == 1
    assert size.file_bytes == files.fp32.stat().st_size


def test_int8_file(files):
    size = size_of(files.int8)
    weights = files.conv_weights + files.gemm_weights
    assert size.weight_bytes == weight_bytes(files.int8) == weights
    assert size.weight_ratio == 0.25
    assert size.bias_bytes == 4 * files.biases  # int32
    assert size.qparam_bytes > 0


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_parts_sum_to_the_file(files, kind):
    path = getattr(files, kind)
    size = size_of(path)
    model = onnx.load(path)
    values = sum(len(numpy_helper.to_array(t).tobytes()) for t in model.graph.initializer)
    assert size.graph_bytes == path.stat().st_size - values > 0


def test_integer_operators(tmp_path):
    """QLinearMatMul: weights at input 3, scales and zero points around them."""
    values = {
        "sx": np.float32(1),
        "zx": np.uint8(0),
        "w": np.ones((64, 10), np.int8),
        "sw": np.float32(1),
        "zw": np.int8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        helper.make_node("QLinearMatMul", ["xq", "sx", "zx", "w", "sw", "zw", "sx", "zx"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "sx", "zx"], ["y"]),
    ]
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in values.items()]
    size = size_of(save(tmp_path / "m.onnx", nodes, tensors))
    assert (size.weight_bytes, size.qparam_bytes) == (640, 10)


def test_weights_behind_quantize_linear_count_as_the_float_they_are(tmp_path):
    """A file that stores float weights and quantizes them at run time has not shrunk."""
    w = numpy_helper.from_array(np.ones((64, 10), np.float32), "w")
    scale = numpy_helper.from_array(np.float32(1), "s")
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    assert size_of(save(tmp_path / "m.onnx", nodes, [w, scale])).weight_ratio == 1


def test_four_bit_weights_are_packed(tmp_path):
    w = helper.make_tensor("w", TensorProto.INT4, [64, 10], np.ones(640, np.int8))
    scale = numpy_helper.from_array(np.float32(1), "s")
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    assert size_of(save(tmp_path / "m.onnx", nodes, [w, scale])).weight_ratio == 0.125


def test_shared_and_constant_weights_count_once(tmp_path):
    w = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    nodes = [
        helper.make_node("Constant", [], ["w"], value=w),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    assert weight_bytes(save(tmp_path / "m.onnx", nodes, [])) == 4 * 64 * 64


def test_external_data_counts(tmp_path):
    w = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    external = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    path = save(tmp_path / "m.onnx", nodes, [w], **external)
    size = size_of(path)
    assert size.file_bytes == path.stat().st_size + (tmp_path / "w.bin").stat().st_size
    assert size.weight_bytes == 4 * 64 * 64
    (tmp_path / "w.bin").unlink()
    with pytest.raises(DataError, match=r"w\.bin, which is missing"):
        size_of(path)


def test_a_graph_without_weights_has_no_ratio(tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], [])
    assert np.isnan(size_of(path).weight_ratio)


@pytest.mark.parametrize("keep", [0, 0.5], ids=["empty", "half"])
def test_truncated_file(files, tmp_path, keep):
    data = files.fp32.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(DataError, match=r"cut\.onnx .*Export it again"):
        size_of(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="missing"):
        size_of(tmp_path / "absent.onnx")
