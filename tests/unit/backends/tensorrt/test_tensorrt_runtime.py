"""What of the TensorRT runtime needs no GPU; the tests marked ``gpu`` run where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qutils.backends.export import export
from qutils.backends.shared.gpu import lacking_gpu
from qutils.backends.tensorrt.runtime import TensorRt
from qutils.errors import DataError, InvalidInputError, UnsupportedError
from qutils.integer import IntegerReference
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import observe
from tests.unit.graph.networks import NETWORKS

needs_gpu = pytest.mark.skipif(bool(lacking_gpu()), reason=f"no NVIDIA GPU: {lacking_gpu()}")


@pytest.fixture
def simulated():
    network = NETWORKS["many-things"]
    return observe(network.make(), network.inputs(), "tensorrt").simulate(Recipe())


@pytest.mark.parametrize("suffix", [".onnx", ".engine"])
def test_without_a_gpu_it_says_so(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "qutils.backends.tensorrt.runtime.lacking_gpu", lambda: "the driver sees none"
    )
    (tmp_path / f"model{suffix}").write_bytes(b"anything")
    with pytest.raises(UnsupportedError, match="needs an NVIDIA GPU: none found, the driver sees"):
        TensorRt.load(tmp_path / f"model{suffix}")


def test_missing_files_and_other_kinds_are_told_first(tmp_path):
    with pytest.raises(DataError, match="missing"):
        TensorRt.load(tmp_path / "absent.onnx")
    (tmp_path / "model.tflite").write_bytes(b"anything")
    with pytest.raises(DataError, match=r"give \.onnx or \.engine"):
        TensorRt.load(tmp_path / "model.tflite")


def test_threads_are_checked(tmp_path):
    with pytest.raises(InvalidInputError, match="threads"):
        TensorRt.load(tmp_path / "absent.onnx", threads=0)


@pytest.mark.gpu
@needs_gpu
def test_an_engine_predicts_as_the_integer_reference(simulated, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    runtime = TensorRt.load(export(simulated, tmp_path / "net.onnx"))
    x = NETWORKS["many-things"].inputs(200)  # more than the engine takes at once
    expected = IntegerReference(simulated)(x)
    got = torch.from_numpy(runtime.run(x.numpy()))
    assert got.shape == expected.shape
    assert (got.flatten(1).argmax(1) == expected.flatten(1).argmax(1)).float().mean() > 0.95
    assert runtime.kernels()["corrltn int8 int8"] == 4
    times = runtime.gpu_times(x[:8].numpy(), repeats=5)
    assert times.shape == (5,)
    assert (times > 0).all()
    with pytest.raises(InvalidInputError, match="dtype"):
        runtime.run(x.numpy().astype(np.float64))
