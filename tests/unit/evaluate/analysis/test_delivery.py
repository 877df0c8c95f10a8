"""``q.export`` writes a file and runs it: what departs, or is not run, is reported."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from types import SimpleNamespace

import onnx
import pytest
import torch
from torch import nn

import qutils as q
from qutils.backends.export import export as write
from qutils.errors import MissingPackageError
from qutils.evaluate.analysis import delivery, examine
from qutils.numerics.schemes import Recipe
from qutils.quantize import calibration
from tests.unit.graph.networks import NETWORKS, observed


@pytest.fixture(scope="module")
def sim():
    return observed("ten-lines").simulate(Recipe())


@pytest.fixture
def strict():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_a_sound_file_is_handed_over_without_a_word(sim, tmp_path, strict):
    path = q.export(sim, tmp_path / "net.onnx")
    found = examine(sim, path)
    assert found.warning == ""
    assert found.verification.samples == calibration.SAMPLES
    assert found.kernels["QLinearConv"] > 1
    assert "The file computes what was simulated" in str(found)
    assert f" {found.kernels['QLinearConv']} QLinearConv" in str(found)


def test_a_file_that_departs_is_reported_with_the_layer(sim, tmp_path, monkeypatch):
    def spoiled(sim, path, target=None):
        model = onnx.load(write(sim, path, target))
        shape = list(sim.captured.module.get_parameter("4.weight").shape)
        one = next(t for t in model.graph.initializer if t.data_type == 3 and list(t.dims) == shape)
        one.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(one), one.name))
        onnx.save(model, path)
        return path

    monkeypatch.setattr(delivery, "write", spoiled)
    with pytest.warns(
        UserWarning, match=r"net.onnx departs from the simulation. First diverging layer: 4 \("
    ) as caught:
        q.export(sim, tmp_path / "net.onnx")
    assert caught[0].filename == __file__


def test_without_samples_it_says_that_nothing_was_verified(sim, tmp_path, strict):
    opened = q.load(q.save(sim, tmp_path / "net.safetensors"), NETWORKS["ten-lines"].make())
    with pytest.warns(UserWarning, match="written and not verified: a simulated model that was"):
        path = q.export(opened, tmp_path / "net.onnx")
    assert path.is_file()
    q.export(opened, path, verify=False)


def test_a_runtime_that_is_not_here_is_named(sim, tmp_path, monkeypatch):
    def absent(path, name):
        raise MissingPackageError("openvino is not installed. Install it with: pip install it")

    monkeypatch.setattr(delivery, "runtimes", SimpleNamespace(load=absent))
    with pytest.warns(UserWarning, match="net.onnx was written and not verified: openvino is not"):
        q.export(sim, tmp_path / "net.onnx")


def test_kept_samples_are_few_and_bounded(monkeypatch):
    model, x = nn.Sequential(nn.Linear(4, 2)), torch.randn(64, 4)
    assert torch.equal(q.calibrate(model, x).samples, x[: calibration.SAMPLES])
    monkeypatch.setattr(calibration, "SAMPLE_BYTES", 2 * x[0].nbytes)
    kept = q.observe(model, x)
    assert torch.equal(kept.samples, x[:2])
    assert kept.blank().samples is None
    monkeypatch.setattr(calibration, "SAMPLE_BYTES", 1)
    assert torch.equal(q.calibrate(model, [x[:8], x[8:]]).samples, x[:1])
    assert kept.samples.untyped_storage().nbytes() == kept.samples.nbytes  # not all of x


def test_a_network_that_stays_in_float_is_held_to_the_resolution_of_float32(tmp_path, strict):
    torch.manual_seed(0)
    sim = q.calibrate(nn.Sequential(nn.LayerNorm(8), nn.GELU()), torch.randn(16, 8))
    path = q.export(sim, tmp_path / "net.onnx")
    found = examine(sim, path).verification
    assert found.quantization_db == math.inf
    assert found.passed
    assert found.file_db > 100
    assert not replace(found, file_db=99.0).passed
    model = onnx.load(path)
    scale = next(t for t in model.graph.initializer if list(t.dims) == [8])
    scale.CopyFrom(
        onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(scale) + 1, scale.name)
    )
    onnx.save(model, path)
    assert "this runtime shows no layers to compare" in examine(sim, path).warning


def test_a_file_of_another_shape_is_reported_and_not_raised(tmp_path):
    x = torch.randn(4, 6)
    one, other = (q.calibrate(nn.Linear(6, size), x) for size in (3, 5))
    path = q.export(other, tmp_path / "net.onnx")
    found = examine(one, path)
    assert found.verification is None
    assert found.warning.startswith(f"{path} was written and not verified: ")
    assert "5" in found.not_run
