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
