"""``qutils engine``: an engine where TensorRT is installed, a reason where something is missing."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from qutils.cli import main
from qutils.cli.commands import engine
from tests.unit.backends.tensorrt.tensorrt_files import good


def made(*words):
    return CliRunner().invoke(main, ["engine", *map(str, words)])


@pytest.fixture
def file(tmp_path):
    onnx.save(good(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.mark.skipif(find_spec("tensorrt_rtx") is not None, reason="TensorRT is installed")
def test_without_the_package_nothing_is_overwritten(file):
    out = file.with_suffix(".engine")
    out.write_bytes(b"earlier")
    result = made(file, out)
    assert result.exit_code != 0
    assert "tensorrt_rtx is not installed. Install it with: pip install -e '.[tensorrt]'" in (
        result.output
    )
    assert out.read_bytes() == b"earlier"


def test_an_engine_is_built_and_said_not_to_be_run(file, monkeypatch):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX has an environment of its own")
    monkeypatch.setattr("qutils.backends.shared.gpu.lacking_gpu", lambda: "the driver sees none")
    out = file.with_suffix(".engine")
    result = made(file, out, "--capability", "SM86")
    assert result.exit_code == 0, result.output
    assert "computes: " in result.output
    assert "2 corrltn int8 int8" in result.output
    assert f"Wrote {out} ({out.stat().st_size:,} bytes)" in result.output
    assert "Not run and not timed: that needs an NVIDIA GPU; the driver sees none" in result.output


def test_times_are_said_with_their_spread(monkeypatch):
    class Timed:
        """What ``TensorRt`` offers, with times that are known."""

        threads, input_shape, dtype = 1, (None, 3, 4, 4), np.dtype("float32")

        def gpu_times(self, batch):
            assert batch.shape == (2, 3, 4, 4)
            return np.array([1.0, 2.0, 3.0, 4.0, 5.0])

    class Whole:
        median_ms, iqr_ms = 7.0, 0.5

    monkeypatch.setattr("qutils.backends.runtimes.load", lambda *_: Timed())
    monkeypatch.setattr("qutils.evaluate.bench.latency", lambda *_: Whole())
    (line,) = engine._timed("net.onnx", 2)
    assert line == (
        "batch 2: 3.0000 ms on the GPU (IQR 2.0000 ms, 5 runs), "
        "7.0000 ms with copies (IQR 0.5000 ms), measured"
    )
