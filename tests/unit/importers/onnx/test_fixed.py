"""Inputs that a number replaces, and files of fixed batch whose batch is not the first axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import qutils as q
from qutils.cli import main as command
from qutils.importers.onnx import load_onnx
from tests.unit.importers.onnx.files import normal

N = helper.make_node
value = helper.make_tensor_value_info


def model(nodes, inputs, outputs, tensors) -> onnx.ModelProto:
    stored = [numpy_helper.from_array(np.asarray(x), name) for name, x in tensors.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def by_rate(tmp_path) -> Path:
    """Voice activity: the sampling rate decides which branch reads the samples."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [N("MatMul", ["x", f"{name}_w"], [f"{name}_y"])],
            name,
            [],
            [value(f"{name}_y", 1, None)],
        )
        for name in ("then", "else")
    }
    nodes = [
        N("Equal", ["rate", "high"], ["is_high"]),
        N("If", ["is_high"], ["h"], "choice", **branches),
        N("Cast", ["rate"], ["number"], to=TensorProto.FLOAT),
        N("Div", ["h", "number"], ["y"]),
    ]
    inputs = [value("x", 1, ["n", 6]), value("rate", TensorProto.INT64, [])]
    tensors = {"high": np.int64(16), "then_w": normal(6, 4), "else_w": normal(6, 3)}
    file = tmp_path / "vad.onnx"
    onnx.save(model(nodes, inputs, [value("y", 1, None)], tensors), file)
    return file


def run(file: Path, **inputs: np.ndarray) -> np.ndarray:
    import onnxruntime as ort

    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


@pytest.mark.parametrize("rate", [16, 8])
def test_a_number_takes_the_place_of_an_input(rate, by_rate):
    x = torch.randn(5, 6)
    net = load_onnx(by_rate, x, fixed={"rate": rate})
    wanted = run(by_rate, x=x.numpy(), rate=np.array(rate))
    np.testing.assert_allclose(net(x).detach(), wanted, atol=1e-6)


def test_the_advice_for_an_input_that_decides_works(by_rate):
    with pytest.raises(q.UnsupportedError, match=r"choice.*--fix rate=NUMBER") as raised:
        load_onnx(by_rate, {"x": torch.randn(5, 6), "rate": torch.tensor(16)})
    assert "fixed={'rate': NUMBER}" in str(raised.value)
    assert load_onnx(by_rate, torch.randn(5, 6), fixed={"rate": 16})(torch.zeros(2, 6)).shape == (
        2,
        4,
    )


def test_the_command_fixes_an_input(by_rate, tmp_path):
    from click.testing import CliRunner

    np.savez(tmp_path / "data.npz", inputs=normal(20, 6))
    words = [
        "quantize",
        str(by_rate),
        str(tmp_path / "out.onnx"),
        "--data",
        str(tmp_path / "data.npz"),
    ]
    done = CliRunner().invoke(command, [*words, "--fix", "rate=8"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "fixed: rate = 8" in done.output
    got = q.runtimes.load(tmp_path / "out.onnx").run(np.ones((2, 6), np.float32))
    assert got.shape == (2, 3)


@pytest.mark.parametrize(
    ("fixed", "said"),
    [
        ({"rat": 16}, "did you mean"),
        ({"x": 1}, r"x is float32 \[n, 6\]: an input of open size cannot be fixed"),
        ({"rate": 0.5}, r"rate is int64 \[\], which cannot hold 0\.5"),
        ({"rate": 2**70}, "cannot hold 1180591620717411303424"),
        ({"rate": "high"}, "cannot hold 'high'"),
        ({"x": 1, "rate": 1}, "All inputs are fixed"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(fixed, said, by_rate):
    with pytest.raises(q.InvalidInputError, match=said):
        load_onnx(by_rate, torch.randn(5, 6), fixed=fixed)


def test_a_fixed_batch_on_the_second_axis_of_input_and_output(tmp_path):
    """A sequence [T, 1, C] out of images [1, C, T], and a state [2, 1, C] kept beside."""
    nodes = [
        N("Transpose", ["x"], ["t"], perm=[2, 0, 1]),
        N("ReduceSum", ["state", "first"], ["s"], keepdims=1),
        N("Add", ["t", "s"], ["a"]),
        N("MatMul", ["a", "w"], ["y"]),
    ]
    inputs = [value("x", 1, [1, 4, 7]), value("state", 1, [2, 1, 4])]
    tensors = {"first": np.array([0]), "w": normal(4, 3)}
    file = tmp_path / "m.onnx"
    onnx.save(model(nodes, inputs, [value("y", 1, None)], tensors), file)
    x, state = torch.randn(5, 4, 7), torch.randn(2, 5, 4)
    got = load_onnx(file, {"x": x, "state": state})(x, state).detach()
    assert got.shape == (7, 5, 3)
    for i in range(5):
        one = run(file, x=x[i : i + 1].numpy(), state=state[:, i : i + 1].numpy())
        np.testing.assert_allclose(got[:, i : i + 1], one, atol=1e-6)


def test_a_number_that_is_in_the_data_as_well_is_refused(by_rate):
    with pytest.raises(
        q.InvalidInputError, match="rate of .* is fixed at a number and in the data"
    ):
        load_onnx(by_rate, {"x": torch.randn(5, 6), "rate": torch.tensor(16)}, fixed={"rate": 8})


def test_a_fixed_batch_among_other_axes_of_its_size(tmp_path):
    """Steps, directions, samples, channels of a recurrent layer: [5, 1, 1, 3]."""
    nodes = [N("MatMul", ["x", "w"], ["m"]), N("Unsqueeze", ["m", "axis"], ["y"])]
    tensors = {"w": normal(4, 3), "axis": np.array([1])}
    file = tmp_path / "m.onnx"
    onnx.save(model(nodes, [value("x", 1, [5, 1, 4])], [value("y", 1, None)], tensors), file)
    x = torch.randn(5, 6, 4)
    got = load_onnx(file, x, dynamic={"x": {1: "batch"}})(x).detach()
    assert got.shape == (5, 1, 6, 3)
    np.testing.assert_allclose(got[:, :, 2:3], run(file, x=x[:, 2:3].numpy()), atol=1e-6)
