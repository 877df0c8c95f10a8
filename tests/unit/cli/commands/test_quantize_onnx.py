from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from qutils.backends import runtimes
from tests.unit.importers.onnx.files import channels_last, normal, save

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def network(folder):
    np.savez("pictures.npz", inputs=normal(40, 16, 16, 3), labels=np.arange(40) % 10)
    return channels_last(folder / "net.onnx", side="side")


def test_a_float_file_becomes_an_integer_file(network, quantize):
    before = network.read_bytes()
    result = quantize("net.onnx", "int8.onnx", "--data", "pictures.npz")
    assert result.exit_code == 0, result.output
    assert "net.onnx: W8A8, per_channel weights, minmax ranges of 32 inputs, PTQ" in result.stdout
    assert (
        "imported: outputs differ from ONNX Runtime's of the float file by at most" in result.stdout
    )
    assert "of the largest (n = 8)" in result.stdout
    assert "3 QLinearConv" in result.stdout
    assert "no --weights given" not in result.stdout
    assert network.read_bytes() == before
    x = normal(5, 16, 16, 3, seed=1)
    exact, integer = (runtimes.load(path).run(x) for path in (network, "int8.onnx"))
    assert np.linalg.norm(integer - exact) < 0.1 * np.linalg.norm(exact)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["int8.onnx"], "a model of one's own needs --data"),
        (["net.onnx", "--data", "pictures.npz"], "OUT would replace net.onnx, which is read"),
        (["int8.onnx", "--data", "data.npz"], "takes input of shape [unk__0, side, side, 3]"),
        (
            ["int8.onnx", "--data", "pictures.npz", "--weights", "pictures.npz"],
            "net.onnx holds its weights: leave --weights away",
        ),
    ],
    ids=["no data", "itself", "other data", "weights"],
)
def test_what_cannot_be_done_is_said(words, message, network, quantize):
    before = network.read_bytes()
    result = quantize("net.onnx", *words)
    assert result.exit_code == 2
    assert message in result.output
    assert network.read_bytes() == before
    assert not Path("int8.onnx").exists()


def test_a_file_that_is_missing_or_no_network(quantize):
    result = quantize("absent.onnx", "int8.onnx", "--data", "data.npz")
    assert result.exit_code == 2
    assert "is missing: correct its path" in result.output
    result = quantize("old.onnx", "int8.onnx", "--data", "data.npz")
    assert result.exit_code == 1
    assert "old.onnx is corrupt or truncated, or no ONNX file (14 bytes)" in result.output


def test_a_network_of_two_outputs_ends_at_the_one_that_is_named(folder, quantize):
    np.savez("x.npz", inputs=normal(20, 3, 8, 8))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["boxes"]),
        helper.make_node("Relu", ["boxes"], ["y"]),
    ]
    model = onnx.load(save(folder / "two.onnx", nodes, {"w": normal(8, 3, 3, 3)}))
    model.graph.output.append(helper.make_tensor_value_info("boxes", 1, None))
    onnx.save(model, folder / "two.onnx")
    words = ["two.onnx", "int8.onnx", "--data", "x.npz"]
    result = quantize(*words)
    assert result.exit_code == 0, result.output
    for output in ("y", "boxes"):
        assert f"SQNR of {output}, float to integer: " in result.stdout
    assert "The file computes what was simulated; " in result.stdout
    result = quantize(*words, "--outputs", "y")
    assert result.exit_code == 0, result.output
    assert "SQNR of the outputs, float to integer: " in result.stdout
    assert "; ends at y" in result.stdout
    assert Path("int8.onnx").exists()
    result = quantize("nets.py:tiny", "int8.onnx", "--data", "data.npz", "--outputs", "y")
    assert "--outputs names values of an ONNX file, which nets.py:tiny is not" in result.output
