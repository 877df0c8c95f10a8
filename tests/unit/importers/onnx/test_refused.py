from __future__ import annotations

import re

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

import qutils as q
from qutils.importers.onnx import import_onnx, load, load_onnx, proof
from tests.unit.importers.onnx.files import channels_last, normal, save

CONV = helper.make_node("Conv", ["x", "w"], ["y"], "stem/conv")
WEIGHT = {"w": normal(8, 3, 3, 3)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def test_a_file_that_is_no_onnx(path):
    for content in (b"", b"PK\x03\x04 a zip archive", b"\x80" * 100):
        path.write_bytes(content)
        with pytest.raises(q.DataError, match=rf"net\.onnx .*{len(content)} bytes"):
            load_onnx(path)
    with pytest.raises(q.DataError, match="is missing"):
        load_onnx(path.with_name("absent.onnx"))


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_a_truncated_file(keep, path):
    data = channels_last(path).read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises((q.DataError, q.UnsupportedError), match=r"net\.onnx"):
        load_onnx(path)


@pytest.mark.parametrize("op", ["QuantizeLinear", "QLinearConv", "DynamicQuantizeLinear"])
def test_a_quantized_file(op, path):
    save(path, [helper.make_node(op, ["x"], ["y"])], {})
    with pytest.raises(q.UnsupportedError, match=rf"is quantized already \({op}\): give the float"):
        load_onnx(path)


def test_our_own_integer_file_is_quantized_already(path, tmp_path):
    x = torch.randn(8, 3, 8, 8)
    sim = q.calibrate(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()), x, q.Recipe())
    with pytest.raises(q.UnsupportedError, match="is quantized already"):
        load_onnx(q.export(sim, path))


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.COMPLEX64])
def test_inputs_that_are_no_numbers(kind, path):
    save(path, [helper.make_node("Identity", ["x"], ["y"])], {}, kind=kind)
    name = TensorProto.DataType.Name(kind).lower()
    with pytest.raises(
        q.UnsupportedError, match=rf"x is {name}, quantization starts from .*float32"
    ):
        load_onnx(path)


def test_operators_without_counterpart_are_named_with_their_nodes(path):
    nodes = [
        helper.make_node("Det", ["x"], ["d"], "head/det"),
        helper.make_node("Gelu", ["d"], ["y"], "head/gelu", domain="com.microsoft"),
    ]
    save(path, nodes, {})
    message = (
        r"net\.onnx: operators Det \(node head/det\), Gelu \(node head/gelu\) cannot be imported"
    )
    with pytest.raises(q.UnsupportedError, match=message):
        load_onnx(path)


def test_the_cut_before_what_is_refused_works(path):
    """As of a detector that ends in non-maximum suppression."""
    nodes = [
        CONV,
        helper.make_node("Relu", ["y"], ["r"], "stem/relu"),
        helper.make_node("Det", ["r"], ["d"], "head/det"),
        helper.make_node("Relu", ["d"], ["z"], "head/relu"),
    ]
    nodes[0] = helper.make_node("Conv", ["x", "w"], ["c"], "stem/conv")
    nodes[1].input[0] = "c"
    model = onnx.load(save(path, nodes, WEIGHT, opset=22))
    model.graph.output[0].name = "z"
    onnx.save(model, path)
    with pytest.raises(q.UnsupportedError) as refused:
        load_onnx(path)
    assert str(refused.value) == (
        f"{path}: operator Det (node head/det) cannot be imported. Quantize the part before: "
        f"--outputs r, or load_onnx({str(path)!r}, outputs=['r'])."
    )
    x = torch.randn(2, 3, 8, 8)
    expected = torch.relu(torch.nn.functional.conv2d(x, torch.from_numpy(WEIGHT["w"])))
    torch.testing.assert_close(load_onnx(path, outputs=["r"])(x), expected)
    with pytest.raises(q.InvalidInputError, match=r"unknown output 'rr': did you mean 'r'\?"):
        load_onnx(path, outputs=["rr"])


def test_the_cut_after_what_is_refused_works(path):
    """As of preprocessing in the file."""
    nodes = [
        helper.make_node("BitShift", ["x", "bits"], ["b"], "pre/shift", direction="RIGHT"),
        helper.make_node("Cast", ["b"], ["f"], "pre/cast", to=TensorProto.FLOAT),
        helper.make_node("Conv", ["f", "w"], ["y"], "stem/conv"),
    ]
    tensors = WEIGHT | {"bits": np.array([1], np.uint8)}
    save(path, nodes, tensors, kind=TensorProto.UINT8)
    with pytest.raises(q.UnsupportedError, match="Quantize the part after: ") as refused:
        load_onnx(path)
    advice = re.search(r"onnx\.utils\.extract_model\(.*\)", str(refused.value))
    eval(advice.group(), {"onnx": onnx})
    part = load_onnx(path.with_name("net_part.onnx"), torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert part(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).shape == (2, 8, 6, 6)


def test_an_operator_with_a_setting_that_is_not_imported(path):
    node = helper.make_node(
        "Resize", ["x", "", "s"], ["y"], "up/resize", mode="linear", antialias=1
    )
    save(path, [node], {"s": np.array([1, 1, 0.5, 0.5], np.float32)}, opset=19)
    with pytest.raises(
        q.UnsupportedError, match=r"operator Resize \(node up/resize\) cannot be .*antialias=1"
    ):
        load_onnx(path)


def test_an_operator_set_that_nobody_knows_yet(path):
    save(path, [CONV], WEIGHT, opset=99)
    with pytest.raises(q.UnsupportedError, match=r"cannot run .*net\.onnx"):
        load_onnx(path)


def test_an_operator_set_too_old(path):
    save(path, [helper.make_node("Crop", ["x"], ["y"], border=[1, 1, 1, 1])], {}, opset=1)
    with pytest.raises(q.UnsupportedError, match="operator set 1 is too old, and onnx cannot lift"):
        load_onnx(path)


@pytest.mark.parametrize("shape", [(2, 3, 9, 8), (2, 3, 8), (2, 4, 8, 8)], ids=str)
def test_an_example_of_another_shape(shape, path):
    save(path, [CONV], WEIGHT)
    with pytest.raises(
        q.InvalidInputError, match=r"takes input of shape \[n, 3, 8, 8\], the data has \[2, "
    ):
        load_onnx(path, torch.zeros(shape))


def test_a_batch_that_cannot_be_opened(path):
    nodes = [
        helper.make_node("Reshape", ["x", "rows"], ["r"]),
        helper.make_node("MatMul", ["r", "m"], ["y"]),
    ]
    save(path, nodes, {"rows": np.array([4, 48]), "m": normal(48, 2)}, (1, 3, 8, 8))
    with pytest.raises(q.UnsupportedError, match="Export it with an open batch axis|open batch"):
        load_onnx(path)


def test_outputs_that_are_not_those_of_the_file(path, monkeypatch):
    save(path, [CONV], WEIGHT)

    def wrong(module):
        next(module.parameters()).data[0, 0, 0, 0] += 0.01

    monkeypatch.setattr(load, "absorb_biases", wrong)
    message = (
        r"differ from ONNX Runtime's \[2, 8, 6, 6\] by 0\.0\d+ of the largest, allowed is 0.0001. "
        r"The first to differ is operator Conv \(node stem/conv\)\."
    )
    with pytest.raises(q.UnsupportedError, match=message):
        load_onnx(path)
    monkeypatch.setattr(proof, "FLOOR", 1.0)
    load_onnx(path)


def test_weights_that_make_nan(path):
    save(path, [CONV], {"w": np.full((8, 3, 3, 3), np.nan, np.float32)})
    with pytest.raises(q.InvalidInputError, match="computes NaN or Inf"):
        load_onnx(path)


def test_the_tolerance_follows_the_spread_of_onnx_runtime(path, monkeypatch):
    """A network whose outputs move with the order of sums is compared no closer than that."""
    save(path, [CONV], WEIGHT)
    run = proof.Reference.run
    shift = {ort.GraphOptimizationLevel.ORT_ENABLE_ALL: 0.0}

    def shifted(reference, inputs, like=()):
        return [y + shift.get(reference.level, 3e-3) * y.max() for y in run(reference, inputs)]

    def wrong(module):
        next(module.parameters()).data *= 1.008

    monkeypatch.setattr(load, "absorb_biases", wrong)
    with pytest.raises(q.UnsupportedError, match=r"by 0\.008 of the largest, allowed is 0\.0001"):
        load_onnx(path)
    monkeypatch.setattr(proof.Reference, "run", shifted)
    imported = import_onnx(path)
    assert imported.proof.spread == pytest.approx(3e-3, rel=0.01)
    assert imported.notes == ("ONNX Runtime's own, unoptimized and optimized, by 3.0e-03",)
    assert imported.proof.tolerance == pytest.approx(1.2e-2, rel=0.01)
    monkeypatch.setattr(load, "absorb_biases", lambda module: [wrong(module) for _ in range(2)])
    with pytest.raises(q.UnsupportedError, match=r"allowed is 0\.012"):
        load_onnx(path)
