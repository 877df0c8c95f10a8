from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import qutils as q
from qutils.backends.onnxruntime.runtime import optimized_ops
from qutils.backends.shared.runtime import RuntimeOptions
from qutils.errors import DataError
from qutils.evaluate.explain import profile
from qutils.evaluate.explain.profile import named
from tests.unit.evaluate.explain.conftest import SHAPE

X = np.ones(SHAPE, np.float32)


def run(path, batch=X):
    return profile(named(path), batch, RuntimeOptions(), runs=5)


def test_it_finds_what_the_optimized_graph_holds(int8, fp32):
    for path in (int8(), int8("two-readers"), fp32):
        found = run(path).executed
        counted = optimized_ops(path).counts
        assert {one.op for one in found} == set(counted)
        assert len(found) == sum(counted.values())


def test_kinds_and_shares(int8):
    found = run(int8("two-readers"))
    kinds = {one.op: one.kind for one in found.executed}
    assert kinds["Erf"] == "float"
    assert kinds["QuantizeLinear"] == kinds["DequantizeLinear"] == "conversion"
    assert sum(found.share(kind) for kind in ("integer", "float", "conversion", "other")) == (
        pytest.approx(100)
    )
    assert sum(found.by_op().values()) == pytest.approx(found.milliseconds)
    assert {one.kind for one in run(int8()).executed} == {"integer", "conversion"}


def test_multiply_adds_by_hand(int8, fp32):
    conv = 12 * 12 * 16 * 16 * 9
    quantized = {one.op: one for one in run(int8()).executed}
    assert quantized["QLinearConv"].multiply_adds == conv
    assert quantized["QLinearConv"].weight == (16, 16, 3, 3)
    floats = {one.title: one for one in run(fp32, np.repeat(X, 2, 0)).executed}
    assert floats["product"].multiply_adds == 2 * 16 * 144 * 10
    assert sum(one.multiply_adds for one in floats.values()) == 2 * (conv + 16 * 144 * 10)


def test_weights_behind_a_dequantizer_count(int8):
    kept = next(one for one in run(int8("output")).executed if one.op == "Conv")
    assert (kept.kind, kept.weight) == ("float", (16, 16, 3, 3))
    assert kept.multiply_adds == 12 * 12 * 16 * 16 * 9


def test_bytes_by_hand(int8):
    conv = next(one for one in run(int8()).executed if one.op == "QLinearConv")
    qparams = 3 * 4 + 3  # three scales, three zero points
    assert conv.moved_bytes == 2 * 16 * 144 + 16 * 16 * 9 + qparams


def test_integers_move_a_quarter_of_the_bytes(int8, fp32):
    by_int8 = next(one for one in run(int8()).executed if one.weight)
    in_float = next(one for one in run(fp32).executed if one.weight and len(one.weight) == 4)
    assert 0.24 < by_int8.moved_bytes / in_float.moved_bytes < 0.27


def test_nodes_without_names_or_with_one_name_can_be_told_apart(fp32):
    model = onnx.load(fp32)
    for node in model.graph.node:
        node.name = "same"
    onnx.save(model, fp32)
    assert len({node.name for node in named(fp32).graph.node}) == 3
    ops = [one.op for one in run(fp32).executed if one.kind == "float"]
    assert ops == ["Conv", "Reshape", "MatMul"] or ops == ["Conv", "Flatten", "MatMul"]


def test_it_leaves_no_file_behind(int8, tmp_path, monkeypatch):
    path = int8()
    monkeypatch.chdir(tmp_path)
    before, data = sorted(tmp_path.iterdir()), path.read_bytes()
    run(path)
    assert sorted(tmp_path.iterdir()) == before
    assert path.read_bytes() == data


def test_a_broken_file(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_text("<html>")
    with pytest.raises(DataError, match=r"broken\.onnx is corrupt"):
        named(path)


def test_what_an_operator_is_written_out_as_is_counted(tmp_path):
    """ONNX Runtime computes HardSwish as HardSigmoid and Mul, which it gives no names."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.Hardswish(), nn.Conv2d(4, 4, 3), nn.Hardswish()]
    sim = q.calibrate(nn.Sequential(*layers).eval(), torch.randn(32, 1, 12, 12))
    path = q.export(sim, tmp_path / "net.onnx")
    batch = np.zeros((1, 1, 12, 12), np.float32)
    found = Counter(one.op for one in run(path, batch).executed)
    assert found == q.runtimes.load(path).kernels()
    assert found["HardSigmoid"] == found["Mul"] == 2
