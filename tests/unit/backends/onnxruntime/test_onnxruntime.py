from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from qutils.backends.onnxruntime import runtime as module
from qutils.backends.onnxruntime.runtime import OnnxRuntime, optimized_ops
from qutils.backends.runtimes import RuntimeOptions
from qutils.backends.shared.cpu import flags, has_vnni
from qutils.errors import DataError, InvalidInputError, UnsupportedError

KINDS = ["conv3x3", "conv1x1", "depthwise", "gemm"]
saturates = pytest.mark.skipif(
    has_vnni() or "avx2" not in flags(), reason="only AVX2 without VNNI saturates"
)


@pytest.mark.parametrize("kind", KINDS)
def test_default_equals_exact_integer_arithmetic(make_layer, kind):
    layer = make_layer(kind)
    np.testing.assert_array_equal(OnnxRuntime.load(layer.path).run(layer.x), layer.expected)


@saturates
@pytest.mark.parametrize("kind", ["conv3x3", "conv1x1", "gemm"])
def test_inexact_kernels_saturate_on_this_cpu(make_layer, kind):
    layer = make_layer(kind)
    y = OnnxRuntime.load(layer.path, exact=False).run(layer.x)
    assert np.abs(y - layer.expected).max() > layer.sy


def test_exact_option_is_set_only_without_vnni(monkeypatch):
    for vnni in (False, True):
        monkeypatch.setattr(module, "has_vnni", lambda vnni=vnni: vnni)
        options = module.session_options_of(RuntimeOptions())
        if vnni:
            with pytest.raises(RuntimeError, match="x64quantprecision"):
                options.get_session_config_entry(module.EXACT_OPTION)
        else:
            assert options.get_session_config_entry(module.EXACT_OPTION) == "1"


def test_threads_reach_the_session():
    assert module.session_options_of(RuntimeOptions(threads=2)).intra_op_num_threads == 2


def test_results_do_not_depend_on_threads(make_layer):
    layer = make_layer("conv3x3")
    one, two = (OnnxRuntime.load(layer.path, threads=n).run(layer.x) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("kind", "op"), [("conv3x3", "QLinearConv"), ("depthwise", "QLinearConv"), ("gemm", "QGemm")]
)
def test_kernels_are_those_that_execute(make_layer, kind, op):
    runtime = OnnxRuntime.load(make_layer(kind).path)
    counts = runtime.kernels()
    assert counts[op] == 1
    assert counts["Conv"] == counts["Gemm"] == 0
    assert optimized_ops(runtime.path).float_layers == ()


def test_float_layers_are_named(tmp_path, save):
    node = helper.make_node("MatMul", ["x", "x"], ["y"], name="product")
    path = save(tmp_path / "float.onnx", [node], {"x": [2, 2]}, ["y"])
    assert optimized_ops(path).float_layers == ("product",)
    assert optimized_ops(path).counts["MatMul"] == 1


def test_operators_of_subgraphs_count(tmp_path, save):
    branch = [
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "x"], [f"{n}_y"], name=n)],
            n,
            [],
            [helper.make_tensor_value_info(f"{n}_y", 1, None)],
        )
        for n in ("yes", "no")
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["c"], to=9),
        helper.make_node("If", ["c"], ["y"], then_branch=branch[0], else_branch=branch[1]),
    ]
    path = save(tmp_path / "if.onnx", nodes, {"x": [2, 2]}, ["y"])
    assert sorted(optimized_ops(path).float_layers) == ["no", "yes"]


def test_counting_leaves_no_file_behind(make_layer):
    layer = make_layer("gemm")
    before = layer.path.read_bytes()
    optimized_ops(layer.path)
    assert [p.name for p in layer.path.parent.iterdir()] == [layer.path.name]
    assert layer.path.read_bytes() == before


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"absent\.onnx is missing"):
        OnnxRuntime.load(tmp_path / "absent.onnx")


@pytest.mark.parametrize("keep", [0, 0.5, 0.99], ids=["empty", "half", "tail-lost"])
def test_truncated_file(make_layer, keep):
    path = make_layer("conv3x3").path
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"conv3x3\.onnx is corrupt or truncated \([\d,]+ bytes\)"):
        OnnxRuntime.load(path)


@pytest.mark.parametrize("keep", [True, False], ids=["truncated", "missing"])
def test_tensors_in_a_file_beside_it_that_is_not_whole(make_layer, tmp_path, keep):
    model = onnx.load(make_layer("conv3x3").path)
    path, data = tmp_path / "net.onnx", tmp_path / "net.data"
    external = {"save_as_external_data": True, "location": data.name, "size_threshold": 0}
    onnx.save(model, path, **external)
    OnnxRuntime.load(path)
    data.write_bytes(data.read_bytes()[:4]) if keep else data.unlink()
    with pytest.raises(
        DataError, match=r"net\.onnx keeps tensors in a file beside it, which is mi"
    ):
        OnnxRuntime.load(path)


def test_file_of_another_kind(tmp_path):
    path = tmp_path / "page.onnx"
    path.write_text("<html>not a model</html>")
    with pytest.raises(DataError, match="corrupt or truncated"):
        OnnxRuntime.load(path)


def test_unknown_operator_is_named(tmp_path, save):
    path = save(tmp_path / "m.onnx", [helper.make_node("Foo", ["x"], ["y"])], {"x": [1]}, ["y"])
    with pytest.raises(UnsupportedError, match=r"cannot run .*m\.onnx.*Foo"):
        OnnxRuntime.load(path)


def test_two_inputs_are_given_by_name(tmp_path, save):
    node = helper.make_node("Add", ["a", "b"], ["y"])
    path = save(tmp_path / "m.onnx", [node], {"a": [1], "b": [1]}, ["y"])
    runtime = OnnxRuntime.load(path)
    one, two = np.ones(1, np.float32), np.full(1, 2, np.float32)
    assert runtime.run({"b": two, "a": one}).tolist() == [3]
    with pytest.raises(InvalidInputError, match="takes a, b, got one ndarray. Give a dict of arr"):
        runtime.run(one)
    with pytest.raises(UnsupportedError, match="takes a, b: one input was expected"):
        _ = runtime.input_shape


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 3, 8, 8), np.float32), r"\[1, 3, 8, 8\].*expects \[n, 32, 8, 8\]"),
        (np.zeros((32, 8, 8), np.float32), r"\[32, 8, 8\].*expects \[n, 32, 8, 8\]"),
        (np.zeros((1, 32, 8, 8)), r"float64.*expects float32.*astype"),
        (np.zeros((0, 32, 8, 8), np.float32), "is empty"),
        ([[1.0]], "is a list"),
    ],
    ids=["channels", "rank", "dtype", "empty", "list"],
)
def test_wrong_batch(make_layer, batch, message):
    runtime = OnnxRuntime.load(make_layer("conv3x3").path)
    with pytest.raises(InvalidInputError, match=message):
        runtime.run(batch)


def test_fixed_batch_size_is_explained(tmp_path, save):
    node = helper.make_node("Relu", ["x"], ["y"])
    path = save(tmp_path / "m.onnx", [node], {"x": [1, 4]}, ["y"])
    with pytest.raises(InvalidInputError, match="batch size is fixed at 1"):
        OnnxRuntime.load(path).run(np.zeros((2, 4), np.float32))


def test_nan_passes_through(tmp_path, save):
    node = helper.make_node("Abs", ["x"], ["y"])
    path = save(tmp_path / "m.onnx", [node], {"x": [1, 1]}, ["y"])
    assert np.isnan(OnnxRuntime.load(path).run(np.full((1, 1), np.nan, np.float32))).all()


def test_it_says_what_it_is(make_layer):
    runtime = OnnxRuntime.load(make_layer("gemm").path, threads=2)
    assert (runtime.name, runtime.threads) == ("onnxruntime", 2)
    assert runtime.version[0].isdigit()
    assert runtime.input_shape == ("n", 64)
