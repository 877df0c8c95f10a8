"""Networks after QAT: written, read back without data, and refused if they do not fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from qutils import zoo
from qutils.errors import DataError, InvalidInputError
from qutils.evaluate import bench
from qutils.files import ROOT, sha256
from qutils.quantize import checkpoint
from qutils.quantize.calibration import calibrate
from qutils.zoo import QAT_CHECKPOINTS, QatCheckpoint

FLOOR = {"w8a8": 92.0, "w4a4": 91.0, "w3a8": 91.0, "w2a8": 88.0}  # percent of 500 test pictures


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoints folder of the test's own, with one network after calibration in it."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("resnet8.safetensors",):
        shutil.copy(ROOT / "data/checkpoints" / name, folder)
    made = QAT_CHECKPOINTS["resnet8-w4a4"]
    sim = calibrate(zoo.load("resnet8"), torch.rand(8, 1, 28, 28), made.recipe)
    path = checkpoint.save(sim, folder / f"{made.name}.safetensors")
    (folder / "SHA256SUMS").write_text(f"{sha256(path)}  {path.name}\n")
    monkeypatch.setenv("QUTILS_DATA", str(tmp_path))
    return path


def test_a_listed_network_is_loaded_by_model_and_bits(own):
    sim = zoo.load_quantized("resnet8", 4, 4)
    assert sim.recipe.label == "W4A4"
    assert sim(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_damaged_or_missing_network_is_named_with_its_checksum(own):
    own.write_bytes(own.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"resnet8-w4a4.*corrupt or truncated.*SHA-256"):
        zoo.load_quantized("resnet8", 4, 4)
    with pytest.raises(DataError, match="holds no checksum of resnet8-w8a8"):
        zoo.load_quantized("resnet8", 8, 8)


def test_unshipped_bits_and_models_name_what_there_is():
    with pytest.raises(InvalidInputError, match=r"W8A8, W4A4, W3A8, W2A8, not W5A8.*--qat W5A8"):
        zoo.load_quantized("resnet8", 5, 8)
    with pytest.raises(InvalidInputError, match="did you mean 'resnet8'"):
        zoo.load_quantized("resnet9", 4, 4)


def test_every_model_ships_the_same_widths():
    made = QAT_CHECKPOINTS.values()
    assert {m.model for m in made} == set(zoo.MODELS)
    assert len(made) == len(zoo.MODELS) * len({m.recipe.label for m in made})
    assert all(name == m.name for name, m in QAT_CHECKPOINTS.items())
    assert QatCheckpoint("resnet8", 5, 6).name == "resnet8-w5a6"


_LARGER = pytest.mark.slow(reason="the larger networks; the core scores those of resnet8")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if made.model == "resnet8" else _LARGER)
        for name, made in QAT_CHECKPOINTS.items()
    ],
)
def test_shipped_network_scores(name):
    made = QAT_CHECKPOINTS[name]
    sim = zoo.load_quantized(made.model, made.weight_bits, made.activation_bits)
    test = zoo.dataset("fashion_mnist").test.take(500)
    found = bench.evaluate(bench.predict_with(sim), ((x.numpy(), y.numpy()) for x, y in test))
    assert found.top1 >= FLOOR[made.recipe.label.lower()]
