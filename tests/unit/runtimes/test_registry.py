from __future__ import annotations

import sys

import pytest

from qutils.errors import DataError, InvalidInputError, MissingPackageError
from qutils.runtimes import RUNTIMES, Runtime, load


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_has_its_class(name):
    runtime = RUNTIMES[name].get()
    assert issubclass(runtime, Runtime)
    assert runtime.name == name


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_names_a_missing_file(name, tmp_path):
    with pytest.raises(DataError, match="missing"):
        load(tmp_path / "absent", runtime=name)


def test_missing_package_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match="pip install onnxruntime"):
        load("model.onnx")


def test_closest_name_is_suggested():
    with pytest.raises(InvalidInputError, match="did you mean 'onnxruntime'"):
        load("model.onnx", runtime="onnxruntme")


def test_known_names_are_listed_when_none_is_close():
    with pytest.raises(InvalidInputError, match="known: .*onnxruntime"):
        load("model.onnx", runtime="zzz")


def test_loaded_runtime_keeps_its_options(make_layer):
    runtime = load(make_layer("gemm").path, threads=2, exact=False)
    assert (runtime.options.threads, runtime.options.exact) == (2, False)
