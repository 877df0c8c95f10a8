from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("ai_edge_litert", reason="the extra 'litert' is not installed")

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from qutils.backends.export import export
from qutils.errors import DataError
from qutils.evaluate.bench import size_of, weight_size
from qutils.quantize.calibration import calibrate


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(32, 5)
    )
    sim = calibrate(net.eval(), torch.randn(8, 3, 6, 6), target="litert")
    return sim, export(sim, tmp_path_factory.mktemp("sizes") / "net.tflite")


WEIGHTS, BIASES = 8 * 27 + 8 * 9 + 5 * 32, 8 + 8 + 5


def test_parts_of_a_file(exported):
    sim, path = exported
    size = size_of(path)
    assert (size.weight_bytes, size.weight_count) == (WEIGHTS, WEIGHTS)  # int8, one a byte
    assert size.weight_ratio == 0.25
    assert size.bias_bytes == 4 * BIASES  # int32
    assert size.qparam_bytes >= (4 + 8) * 3 * 8
    assert size.file_bytes == path.stat().st_size > size.graph_bytes > 0
    assert weight_size(sim, path).stored_bytes == WEIGHTS


@pytest.mark.parametrize("kind", ["missing", "cut", "other"])
def test_files_that_cannot_be_read(exported, tmp_path, kind):
    path = tmp_path / "net.tflite"
    if kind != "missing":
        path.write_bytes(exported[1].read_bytes()[:60] if kind == "cut" else b"<html></html>")
    with pytest.raises(
        DataError, match=r"net\.tflite is (missing|corrupt or truncated \(\d+ bytes)"
    ):
        size_of(path)


def test_operators_that_read_their_own_results_are_refused(exported, tmp_path):
    model = schema.ModelT.InitFromPackedBuf(exported[1].read_bytes(), 0)
    loop = schema.OperatorT()
    layer = next(op for op in model.subgraphs[0].operators if len(op.inputs) == 3)
    weight = int(layer.inputs[1])
    loop.inputs, loop.outputs, loop.opcodeIndex = [weight], [weight], len(model.operatorCodes)
    model.operatorCodes.append(schema.OperatorCodeT())
    model.operatorCodes[-1].builtinCode = schema.BuiltinOperator.DEQUANTIZE
    model.subgraphs[0].operators.append(loop)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "loop.tflite"
    path.write_bytes(builder.Output())
    with pytest.raises(DataError, match=r"loop\.tflite is corrupt .*: its operators form a loop"):
        size_of(path)
