from __future__ import annotations

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from qutils.cli import main


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    w = numpy_helper.from_array(np.ones((8, 4), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [w],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), "net.onnx")
    return "net.onnx"


def run(*words):
    return CliRunner().invoke(main, ["explain", *words])


def test_it_explains_and_draws(file, tmp_path):
    result = run(file, "--float", file, "--runs", "5", "--figure", "time.png")
    assert result.exit_code == 0, result.output
    assert "What the CPU offers" in result.output
    assert "MatMul" in result.output
    assert "What to change:" in result.output
    assert (tmp_path / "time.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A file that takes token ids and a mask, and data for it."""
    monkeypatch.chdir(tmp_path)
    table = numpy_helper.from_array(np.ones((20, 4), np.float32), "table")
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"], "lookup"),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["words", "wide"], ["y"], "masked"),
    ]
    last = numpy_helper.from_array(np.array([2]), "last")
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "s"]),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", "s"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [table, last])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), "two.onnx")
    ids = np.random.default_rng(0).integers(0, 20, (6, 5)).astype(np.int32)
    np.savez("two.npz", ids=ids, mask=np.ones((6, 5)))
    np.savez("wrong.npz", ids=ids, msk=np.ones((6, 5)))
    return "two.onnx"


def test_several_inputs_are_read_from_data(two):
    result = run(two, "--runs", "5", "--data", "two.npz", "--batch", "3", "--float", two)
    assert result.exit_code == 0, result.output
    assert "batch 3, threads 1), whole run in ONNX Runtime, measured" in result.output
    assert "Gather" in result.output
    assert "Measured with batch 6" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "two.onnx takes ids [n, s] int64, mask [n, s] float32: values of several inputs, or"),
        (["--data", "wrong.npz"], "two.onnx takes ids, mask, got ids, msk. Give the named inputs"),
        (["--data", "two.npz", "--sizes", "5"], "--sizes makes inputs up, --data gives them"),
        (["--data", "two.npz", "--batch", "9"], "Expected at least 9 samples in two.npz, got 6."),
        (["--data", "two.txt"], "Expected --data of .npz or .npy, got two.txt. Give such a file."),
        (["--data", "two.npz", "--float", "net.onnx"], "give the float file of the same network"),
    ],
    ids=["none", "names", "both", "few", "ending", "float"],
)
def test_inputs_that_do_not_fit_are_refused(two, file, words, message):
    result = run(two, "--runs", "5", *words)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert result.output.count("Error:") == 1


def test_the_only_array_goes_to_the_only_input(file):
    x = np.ones((2, 8), np.float32)
    for name, code in (("inputs", 0), ("x", 0), ("imagez", 2)):
        np.savez("one.npz", **{name: x})
        assert run(file, "--runs", "5", "--data", "one.npz").exit_code == code


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["absent.onnx"], 1, "absent.onnx is missing"),
        (["net.onnx", "--figure", "time.gif"], 2, "writes .png or .svg"),
        (["text.onnx"], 1, "text.onnx is corrupt or truncated"),
        (["net.onnx", "--float", "text.onnx"], 1, "text.onnx is corrupt or truncated"),
    ],
    ids=["missing", "figure", "corrupt", "corrupt-float"],
)
def test_bad_input_is_one_clear_error(file, tmp_path, words, code, message):
    (tmp_path / "text.onnx").write_text("<html>")
    result = run(*words)
    assert result.exit_code == code
    assert message in result.output
    assert result.output.count("Error:") == 1
    assert "Traceback" not in result.output
