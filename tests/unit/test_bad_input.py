"""What a user may get wrong, from the outside: one clear error each, nothing overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from qutils.backends.export import export
from qutils.errors import InvalidInputError, UnsupportedError
from qutils.evaluate.bench import latency
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize import checkpoint
from qutils.quantize.calibration import calibrate
from qutils.quantize.qat import finetune
from tests.unit.graph.networks import REFUSED, ten_lines

X = torch.randn(4, 3, 8, 8)


def spoiled(value: float) -> Tensor:
    x = X.clone()
    x[2, 1, 5, 5] = value
    return x


def model_with(value: float) -> nn.Module:
    model = ten_lines()
    model[8].bias.data[7] = value
    return model


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


NAN, INF = float("nan"), float("inf")

DATA = {
    "no-batches": ([], "calibration set is empty: give at least one batch"),
    "empty-tensor": (X[:0], "calibration set is empty"),
    "empty-batches": ([X[:0], X[:0]], "calibration set is empty"),
    "exhausted-generator": ((batch for batch in ()), "calibration set is empty"),
    "nan": (spoiled(NAN), "input holds NaN or Inf: look for them in the calibration data"),
    "inf": (spoiled(INF), "input holds NaN or Inf"),
    "nan-in-a-later-batch": ([X, spoiled(NAN)], "input holds NaN or Inf"),
    "channels": (X[:, :1], r"does not run on input of shape \[N, 1, 8, 8\]"),
    "later-shape": ([X, X[..., :6]], r"input of shape \[N, 3, 8, 8\], got \[4, 3, 8, 6\]"),
    "pixels": ((X * 9).to(torch.uint8), "float input, got torch.uint8: normalize the pictures"),
    "later-pixels": ([X, X.to(torch.uint8)], "float input, got torch.uint8"),
    "float64": (X.double(), r"float32 input, got torch.float64: call \.float\(\)"),
    "numpy": ([X.numpy()], "batch 0 is a ndarray: give tensors"),
    "numpy-later": ([X, X.numpy()], "batch 1 is a ndarray: give tensors"),
    "a-number": (torch.tensor(1.0), "a single number"),
    "none": (None, "the calibration set is a NoneType: give batches"),
    "number": (5, "the calibration set is a int"),
    "empty-dict": ({}, "the calibration set is an empty dict: give tensors by input name"),
    "dict-of-arrays": ({"input": X.numpy()}, "holds a ndarray under 'input': give tensors"),
    "unknown-name": (
        [{"x": X}],
        r"Sequential\.forward\(input\) does not take x: .*Name the inputs",
    ),
    "unequal": (
        {"input": X, "y": X[:2]},
        r"different numbers of samples: input \[4, .*\], y \[2, ",
    ),
    "one-axis": (torch.randn(8), "needs a batch and more axes"),
}


@pytest.mark.parametrize("name", DATA)
def test_calibration_data(name):
    data, message = DATA[name]
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(InvalidInputError, match=message) as caught:
        calibrate(model, data)
    assert "\n" not in str(caught.value)
    assert not getattr(caught.value, "__notes__", [])


MODELS = {
    "nan-weights": (lambda: model_with(NAN), InvalidInputError, "model's 8.bias holds NaN or Inf"),
    "inf-weights": (lambda: model_with(INF), InvalidInputError, "model's 8.bias holds NaN or Inf"),
    "half": (lambda: ten_lines().half(), InvalidInputError, r"float16.*call model\.float\(\)"),
    "not-exportable": (Branches, UnsupportedError, "cannot trace Branches: .*control flow"),
    "two-inputs": (TwoInputs, UnsupportedError, "TwoInputs.forward takes x, y, got one tensor"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    make, error, message = MODELS[name]
    with pytest.raises(error, match=message) as caught:
        calibrate(make(), X)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_strict_refuses_and_its_advice_works():
    message = (
        "operator aten.gelu in module '1' has no integer kernel on onnxruntime. Replace it, or "
        "leave out strict=True (--strict on the command line) to keep it in float."
    )
    with pytest.raises(UnsupportedError) as caught:
        calibrate(REFUSED["gelu"][0].make(), X, strict=True)
    assert str(caught.value) == message
    assert calibrate(REFUSED["gelu"][0].make(), X).coverage.in_float[0].op == "gelu"


@pytest.mark.parametrize("bits", [1, 9, 0, -4, 16, 3.5, "8", None])
def test_bits_outside_2_to_8(bits):
    with pytest.raises(InvalidInputError, match=r"bits must be an integer in 2\.\.8, got"):
        Scheme(bits=bits)


def test_a_misspelt_target():
    with pytest.raises(InvalidInputError, match=r"did you mean 'onnxruntime'\?"):
        calibrate(ten_lines(), X, target="onxruntime")


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("x", [torch.zeros(4, 3, 8, 8), torch.ones(4, 3, 8, 8)], ids=["0", "1"])
def test_constant_data_and_dead_layers_work(x, granularity):
    model = ten_lines()
    nn.init.zeros_(model[4].weight)
    sim = calibrate(model, x, Recipe(weights=Scheme(granularity=granularity)))
    assert torch.isfinite(sim(x)).all()


def test_the_earlier_file_survives_a_refused_export(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"earlier")
    sim = calibrate(ten_lines(), X, Recipe(weights=Scheme(bits=3)))
    with pytest.raises(UnsupportedError, match="3-bit weights: this setting can be simulated"):
        export(sim, path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("model.onnx", b"earlier")]


#: What is easily mixed up, and what the message says.
MIXED_UP = {
    "recipe of bits": (lambda sim: Recipe(weights=8), r"weights are a int: give a Scheme\(bits"),
    "scheme as recipe": (lambda sim: calibrate(ten_lines(), X, Scheme()), "recipe is a Scheme"),
    "array": (lambda sim: sim(X.numpy()), r"a torch tensor, got ndarray: torch\.from_numpy"),
    "float model": (lambda sim: export(ten_lines(), "o.onnx"), r"got Sequential: make one with"),
    "class": (lambda sim: calibrate(nn.Linear, X), "give an nn.Module that is made already"),
    "saved as": (lambda sim: checkpoint.save(sim, "a.pt"), r"the ending \.safetensors"),
    "swapped": (lambda sim: checkpoint.load(ten_lines(), "a"), "a path, then the float model"),
    "timed": (lambda sim: latency(sim), "of a runtime or a model file, got SimulatedModel"),
    "epochs": (
        lambda sim: finetune(sim, [(X, torch.zeros(4).long())], epochs="3"),
        "epochs must be a positive, finite number, got '3'",
    ),
}


@pytest.mark.parametrize("name", MIXED_UP)
def test_mixed_up_arguments(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, message = MIXED_UP[name]
    with pytest.raises(InvalidInputError, match=message):
        call(calibrate(ten_lines(), X))
    assert not list(tmp_path.iterdir())
