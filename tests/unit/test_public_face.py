"""``import qutils as q``: what it offers, and that it costs nothing until it is used."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import qutils as q
from qutils.evaluate.analysis import delivery
from qutils.files import ROOT


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_brings_in_neither_torch_nor_numpy():
    heavy = "print([m for m in ('torch', 'numpy', 'onnx') if m in sys.modules])"
    assert python(f"import sys, qutils as q; dir(q); q.__doc__, q.__version__; {heavy}") == "[]"


def test_recipes_are_made_without_torch():
    code = "import sys, qutils as q; q.Recipe(activations=q.Scheme(observer='mse'))"
    assert python(f"{code}; print('torch' in sys.modules)") == "False"


def test_every_public_name_is_there_and_listed():
    listed = dir(q)
    for name in q.__all__:
        assert getattr(q, name) is not None
        assert name in listed
    assert q.calibrate.__module__ == "qutils.quantize.calibration"
    assert q.MODELS is q.zoo.MODELS
    assert q.OBSERVERS is q.observers.OBSERVERS


def test_type_checkers_see_the_same_names():
    tree = ast.parse((ROOT / "qutils/__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and n.body and not n.orelse)
    typed = [a.asname for n in block.body if isinstance(n, ast.ImportFrom) for a in n.names]
    assert sorted([*typed, "__version__"]) == q.__all__


def test_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'qutils' has no attribute 'calibrat'"):
        _ = q.calibrat
    with pytest.raises(ImportError):
        from qutils import calibrat  # noqa: F401


@pytest.mark.parametrize(
    "first",
    [
        "import qutils.backends.export, qutils.evaluate.bench.latency",
        "q.export; from qutils import export; import qutils.backends, qutils.quantize.qat.finetune",
    ],
)
@pytest.mark.slow(reason="imports in fresh processes")
def test_packages_that_share_a_functions_name_serve_as_both(first):
    code = (
        f"import qutils as q; {first}\n"
        "from qutils.evaluate.analysis.delivery import export as function\n"
        "print(q.export is function, callable(q.export_float), callable(q.bench.latency),"
        " callable(q.qat.finetune))"
    )
    assert python(code) == " ".join(["True"] * 4)


def test_package_export_has_the_signature_of_the_function():
    assert inspect.signature(q.export) == inspect.signature(delivery.export)


@pytest.fixture
def few(monkeypatch):
    """Few pictures under the dataset's own name: the example runs in seconds."""
    data = q.zoo.dataset("fashion_mnist")
    small = replace(data, calibration=data.calibration.take(32), train=data.train.take(128))
    monkeypatch.setitem(q.DATASETS, "fashion_mnist", lambda: small)


def test_example_of_the_public_face(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, data = q.zoo.load("resnet8"), q.zoo.dataset("fashion_mnist")
    recipe = q.Recipe(
        weights=q.Scheme(bits=8, granularity="per_channel"),
        activations=q.Scheme(bits=8, observer="mse"),
    )
    sim = q.calibrate(model, data.calibration, recipe)
    sim = q.qat.finetune(sim, data.train, epochs=1, progress=False)
    int8 = q.export(sim, "resnet8.onnx", target="onnxruntime")
    assert int8 == Path("resnet8.onnx")
    assert q.bench.latency(int8, repeats=5, warmup=1).median_ms > 0
    pictures, _ = next(iter(data.calibration))
    agreement = (
        q.runtimes.load(int8).run(pictures.numpy()).argmax(1) == sim(pictures).argmax(1).numpy()
    )
    assert agreement.mean() > 0.9


def test_four_bits_are_simulated_and_refused_by_export(few, tmp_path):
    recipe = q.Recipe(weights=q.Scheme(bits=4, granularity="per_channel"))
    sim = q.calibrate(q.zoo.load("resnet8"), q.zoo.dataset("fashion_mnist").calibration, recipe)
    with pytest.raises(q.UnsupportedError, match="simulated, not exported"):
        q.export(sim, tmp_path / "resnet8.onnx", target="onnxruntime")
    assert not list(tmp_path.iterdir())
