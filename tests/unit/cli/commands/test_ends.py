"""A quantized file is opened by the names of the float file that it came from."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from qutils.backends import runtimes
from qutils.cli.commands.ends import rename

N, value = helper.make_node, helper.make_tensor_value_info


@pytest.fixture
def network(folder):
    random = np.random.default_rng(0)
    stored = [
        numpy_helper.from_array(random.normal(size=size).astype(np.float32), name)
        for name, size in (("w", (4, 3, 3, 3)), ("v", (5, 4)))
    ]
    nodes = [
        N("Conv", ["images", "w"], ["a"]),
        N("Relu", ["a"], ["b"]),
        N("GlobalAveragePool", ["b"], ["c"]),
        N("Flatten", ["c"], ["d"]),
        N("Gemm", ["d", "v"], ["387"], transB=1),
    ]
    ends = [value("images", 1, ["n", 3, "h", "w"])], [value("387", 1, None)]
    graph = helper.make_graph(nodes, "g", *ends, stored)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), "float.onnx")
    np.savez("data.npz", inputs=random.normal(size=(60, 3, 8, 8)).astype(np.float32))
    return folder


def test_names_stay_and_what_was_fixed_is_said(network, quantize):
    result = quantize("float.onnx", "int8.onnx", "--data", "data.npz")
    assert result.exit_code == 0, result.output
    assert (
        "fixed, though open in the file: images:2 at 8, images:3 at 8 (--dynamic" in result.stdout
    )
    assert runtimes.load("int8.onnx").inputs == {"images": ("N", 3, 8, 8)}
    assert [v.name for v in onnx.load("int8.onnx").graph.output] == ["387"]
    onnx.checker.check_model(onnx.load("int8.onnx"), full_check=True)


def test_an_axis_is_opened_by_the_name_in_the_file(network, quantize):
    words = ["--dynamic", "images:2=height", "--dynamic", "images:3=width"]
    result = quantize("float.onnx", "int8.onnx", "--data", "data.npz", *words)
    assert result.exit_code == 0, result.output
    assert "fixed, though open" not in result.stdout
    runtime = runtimes.load("int8.onnx")
    assert runtime.inputs == {"images": ("N", 3, "height", "width")}
    assert runtime.run(np.zeros((1, 3, 9, 12), np.float32)).shape == (1, 5)


def test_an_inner_value_makes_room(tmp_path):
    nodes = [N("Relu", ["input"], ["images"]), N("Relu", ["images"], ["output"])]
    graph = helper.make_graph(
        nodes, "g", [value("input", 1, ["n", 2])], [value("output", 1, ["n", 2])]
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, ir_version=8), path)
    rename(path, {"input": "images", "output": "input"})
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [v.name for v in (*model.graph.input, *model.graph.output)] == ["images", "input"]


def test_few_inputs_and_little_left_are_warned_of(network, quantize):
    torch.manual_seed(0)
    np.savez("few.npz", inputs=np.random.default_rng(0).normal(size=(6, 3, 8, 8)).astype("f"))
    words = ["float.onnx", "--simulate-only", "--data", "few.npz"]
    assert "Warning: ranges of 5 inputs alone" in quantize(*words).stdout
    low = quantize(*words, "--weight-bits", 2, "--activation-bits", 2).stdout
    assert "Warning: rounding leaves little of the outputs (" in low
    assert "rounding leaves little" not in quantize(*words).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out.onnx", "--simulate-only"], "out.onnx and --simulate-only exclude each other"),
        (["--simulate-only", "--seed", 3], "--seed is QAT's"),
        (["--simulate-only", "--fix", "images=1"], "All inputs are fixed (images)"),
        (["--simulate-only", "--fix", "a=1", "--fix", "a=2"], "--fix gives 'a' two numbers"),
        (["--simulate-only", "--fix", "a"], "Expected --fix INPUT=NUMBER, got 'a'"),
    ],
    ids=["both", "seed", "open", "twice", "no number"],
)
def test_what_contradicts_itself_is_refused(words, message, network, quantize):
    result = quantize("float.onnx", *words, "--data", "data.npz")
    assert result.exit_code != 0
    assert message in result.output


def test_pixels_as_integers_are_no_floats(network, quantize):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8)).astype(np.uint8)
    np.savez("pixels.npz", images=pixels)
    result = quantize("float.onnx", "--simulate-only", "--data", "pixels.npz")
    assert result.exit_code != 0
    assert "for 'images', which takes floats. Give them prepared as in training" in result.output
