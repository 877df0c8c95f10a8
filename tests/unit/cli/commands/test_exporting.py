"""What ``qutils quantize`` says of the file that it wrote."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

from qutils.backends import export as export_module
from qutils.backends.runtimes import RUNTIMES
from qutils.cli.commands import exporting
from qutils.evaluate.analysis import Verification
from tests.unit.cli.commands.test_quantize import percent

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def spoiled(monkeypatch):
    """Files whose convolution has other weights than the simulation."""

    def export(sim, path, target):
        written = export_module.export(sim, path, target=target)
        model = onnx.load(written)
        one = next(t for t in model.graph.initializer if list(t.dims) == [4, 1, 3, 3])
        one.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(one), one.name))
        onnx.save(model, written)
        return written

    monkeypatch.setattr(exporting, "export", export)


def test_a_file_that_differs_is_not_said_to_compute_what_was_simulated(quantize, spoiled):
    result = quantize("nets.py:tiny", "old.onnx", "--data", "data.npz")
    assert result.exit_code == 0, result.output
    assert "computes what was simulated" not in result.stdout
    assert re.search(
        r"^Warning: old\.onnx departs from the simulation\. First diverging layer: 0 \(conv2d\), "
        r"[\d.]+ % of its values differ, by up to \d+ steps; file and simulation: -?[\d.]+ dB on 8 "
        r"samples \(onnxruntime\); float and simulation: [\d.]+ dB\.$",
        result.stdout,
        re.MULTILINE,
    )


def test_inputs_that_were_scored_count_too(quantize, spoiled, monkeypatch):
    def sound(sim, runtime, x, name):  # on calibration data
        return Verification(name, 8, 30.0, 60.0)

    monkeypatch.setattr(exporting, "verify", sound)
    result = quantize("nets.py:tiny", "old.onnx", "--data", "data.npz")
    db = percent("SQNR of the outputs, simulated to integer", result.stdout)
    assert "Warning: old.onnx departs from the simulation. First diverging layer: 0 (" in (
        result.stdout
    )
    assert f"file and simulation: {db} dB on 8 samples (onnxruntime)" in result.stdout


@pytest.mark.skipif(not RUNTIMES["litert"].installed, reason="extra litert")
def test_the_weights_of_a_file_for_litert_are_counted(quantize):
    result = quantize("nets.py:tiny", "net.tflite", "--data", "data.npz")
    assert result.exit_code == 0, result.output
    assert "weights: FP32 192 bytes, INT8 48 bytes (0.250)" in result.stdout


def test_a_file_that_grew_says_why(folder, quantize):
    np.savez("steps.npz", inputs=np.random.default_rng(0).normal(size=(20, 7, 8)).astype("f4"))
    result = quantize("nets.py:Recurrent", "o.onnx", "--data", "steps.npz")
    assert re.search(
        r"\(1\.\d+\): larger than before, as most stayed in float or has few weights", result.stdout
    )


def test_it_says_how_to_run_the_file(quantize):
    result = quantize("nets.py:tiny", "out.onnx", "--data", "data.npz")
    assert "Run it: qutils.runtimes.load('out.onnx').run(batch)" in result.stdout
    assert 'add_session_config_entry("session.x64quantprecision", "1")' in result.stdout
