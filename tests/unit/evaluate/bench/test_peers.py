from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from qutils.backends.runtimes import load
from qutils.backends.shared.cpu import saturates
from qutils.errors import DataError, InvalidInputError, MissingPackageError, UnsupportedError
from qutils.evaluate.bench import (
    PEERS,
    agreement,
    nncf_quantize,
    predictions,
    quantize_static,
    size_of,
)


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    return [rng.random((16, 1, 8, 8), np.float32) for _ in range(4)]


@pytest.fixture
def quantized(files, batches, tmp_path):
    return quantize_static(files.fp32, iter(batches), tmp_path / "peer.onnx")


def test_weights_are_signed_bytes_per_channel(quantized, files):
    model = onnx.load(quantized)
    onnx.checker.check_model(model)
    tensors = {t.name: t for t in model.graph.initializer}
    conv = next(n for n in model.graph.node if n.op_type == "Conv")
    weight = next(n for n in model.graph.node if conv.input[1] in n.output)
    assert weight.op_type == "DequantizeLinear"
    assert tensors[weight.input[0]].data_type == TensorProto.INT8
    assert list(tensors[weight.input[1]].dims) == [32]
    assert size_of(quantized).weight_bytes == files.conv_weights + files.gemm_weights


def test_activations_are_unsigned_bytes(quantized):
    model = onnx.load(quantized)
    kinds = {t.name: t.data_type for t in model.graph.initializer}
    quantizers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert {kinds[n.input[2]] for n in quantizers} == {TensorProto.UINT8}


def test_it_predicts_what_the_float_file_predicts(quantized, files, batches):
    """Exactly computed; the default setting may saturate on weights as large as these."""
    found = predictions(load(quantized).run, batches)
    assert agreement(found, predictions(load(files.fp32).run, batches)) >= 90


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "default"])
def test_integer_kernels_run_it(quantized, exact):
    assert load(quantized, exact=exact).kernels()["QLinearConv"] == 1


def test_it_is_quiet(files, batches, tmp_path, capfd, caplog):
    quantize_static(files.fp32, batches, tmp_path / "peer.onnx")
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_bad_input_leaves_the_earlier_file(files, batches, tmp_path):
    path = tmp_path / "peer.onnx"
    path.write_text("earlier")
    with pytest.raises(InvalidInputError, match="calibration set is empty"):
        quantize_static(files.fp32, [], path)
    with pytest.raises(DataError, match=r"absent\.onnx is missing"):
        quantize_static(tmp_path / "absent.onnx", batches, path)
    with pytest.raises(UnsupportedError, match="cannot quantize"):
        quantize_static(files.fp32, [batches[0][:, :, :4]], path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_nncf_makes_a_file_that_both_runtimes_compute_in_integers(files, batches, tmp_path, capfd):
    pytest.importorskip("nncf", reason="the extra 'peers' is not installed")
    path = nncf_quantize(files.fp32, iter(batches), tmp_path / "nncf.onnx")
    assert capfd.readouterr() == ("", "")
    onnx.checker.check_model(onnx.load(path))
    assert size_of(path).weight_bytes == files.conv_weights + files.gemm_weights
    floats = predictions(load(files.fp32).run, batches)
    assert load(path).kernels()["QLinearConv"] == 1
    assert agreement(predictions(load(path).run, batches), floats) >= 90
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    runtime = load(path, "openvino")
    assert runtime.kernels()["Convolution f32"] == 0
    if not saturates():  # without it, OpenVINO's kernels saturate on this file
        assert agreement(predictions(runtime.run, batches), floats) >= 90


def test_a_peer_that_is_not_installed_names_the_command(files, batches, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingPackageError, match=r"pip install -e '\.\[peers\]'"):
        nncf_quantize(files.fp32, batches, tmp_path / "nncf.onnx")


def test_registry():
    assert dict(PEERS) == {"quantize_static": quantize_static, "nncf": nncf_quantize}
