from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from qutils.backends import Backend
from qutils.backends.runtimes import RUNTIMES, Runtime, load
from qutils.errors import DataError, InvalidInputError, MissingPackageError, UnsupportedError


def skip_unless_here(name):
    entry = RUNTIMES[name]
    if not entry.installed:
        pytest.skip(entry.lacking or f"{name} is not installed: {entry.install}")


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_has_its_class(name):
    skip_unless_here(name)
    runtime = RUNTIMES[name].get()
    assert issubclass(runtime, Runtime)
    assert runtime.name == name


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_names_a_missing_file(name, tmp_path):
    skip_unless_here(name)
    with pytest.raises(DataError, match="missing"):
        load(tmp_path / "absent", runtime=name)


def test_missing_package_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match="pip install onnxruntime"):
        load("model.onnx")


def test_missing_hardware_is_told_before_a_missing_package(monkeypatch):
    monkeypatch.setattr("qutils.backends.backend.lacking_gpu", lambda: "the driver sees none")
    with pytest.raises(UnsupportedError, match=r"tensorrt needs an NVIDIA GPU: none found, the dr"):
        load("model.onnx", runtime="tensorrt")
    assert not RUNTIMES["tensorrt"].installed
    assert not RUNTIMES["onnxruntime"].lacking


def test_closest_name_is_suggested():
    with pytest.raises(InvalidInputError, match="did you mean 'onnxruntime'"):
        load("model.onnx", runtime="onnxruntme")


def test_known_names_are_listed_when_none_is_close():
    with pytest.raises(
        InvalidInputError, match="unknown runtime 'zzz': choose from onnxruntime, openvino"
    ):
        load("model.onnx", runtime="zzz")


def test_loaded_runtime_keeps_its_options(make_layer):
    runtime = load(make_layer("gemm").path, threads=2, exact=False)
    assert (runtime.options.threads, runtime.options.exact) == (2, False)


def test_a_runtime_is_here_with_its_package_and_one_of_its_programs():
    entry = Backend("a", "A", ".a", "", "m:A", "torch", command="install it")
    assert entry.installed
    assert replace(entry, programs=("no-such-program", "python3")).installed
    assert not replace(entry, programs=("no-such-program",)).installed
    assert not replace(entry, package="no_such_package").installed


@pytest.mark.parametrize(
    ("path", "runtime", "message"),
    [
        ("net.tflite", "onnxruntime", r"is a file for litert, .*runtimes\.load\(path, 'litert'\)"),
        ("net.onnx", "litert", "is a file for onnxruntime or openvino"),
    ],
)
def test_a_file_for_another_runtime_is_not_called_corrupt(path, runtime, message):
    with pytest.raises(InvalidInputError, match=message):
        load(path, runtime=runtime)


@pytest.mark.parametrize(
    ("path", "runtime"),
    [
        ("net.onnx", "onnxruntime"),
        ("net.tflite", "litert"),
        ("net.pte", "executorch"),
        ("net.pt2", "inductor"),
        ("net.xml", "openvino"),
        ("net.engine", "tensorrt"),
        ("net", "onnxruntime"),
    ],
)
def test_a_file_is_loaded_by_its_ending(path, runtime, monkeypatch):
    def get(backend):
        return SimpleNamespace(load=lambda path, threads, exact: backend.name)

    monkeypatch.setattr(Backend, "get", get)
    assert load(path) == runtime
