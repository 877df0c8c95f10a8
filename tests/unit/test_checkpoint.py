"""Simulated models: written, read back without data, and refused if they do not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from qutils import checkpoint, qat, zoo
from qutils.calibration import calibrate
from qutils.errors import DataError, InvalidInputError
from qutils.export import export
from qutils.schemes import Recipe, Scheme
from qutils.tensors import write_tensors


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )


RECIPES = {
    "per tensor": Recipe(Scheme(4), Scheme(4)),
    "per channel": Recipe(Scheme(4, granularity="per_channel", observer="mse"), Scheme(8)),
    "per group": Recipe(Scheme(2, granularity="per_group", group_size=4)),
}


def tuned(recipe: Recipe):
    """A few steps of QAT, so that ranges differ from those of calibration."""
    x, y = torch.randn(64, 1, 8, 8), torch.randint(0, 3, (64,))
    start = calibrate(net(), [x], recipe)
    return qat.finetune(start, [(x[:32], y[:32]), (x[32:], y[32:])], epochs=3, progress=False), x


@pytest.mark.parametrize("name", RECIPES)
def test_what_was_written_is_read_back_without_data(name, tmp_path):
    sim, x = tuned(RECIPES[name])
    blank = net()
    before = [p.clone() for p in blank.parameters()]
    path = checkpoint.save(sim, tmp_path / "a.safetensors")
    back = checkpoint.load(path, blank)
    assert torch.equal(back(x), sim(x))
    assert list(back.quantizers) == list(sim.quantizers)
    assert not back.training
    assert not any(p.requires_grad for p in back.parameters())
    assert all(torch.equal(a, b) for a, b in zip(blank.parameters(), before, strict=True))


def test_what_is_read_back_trains_on_and_exports(tmp_path):
    recipe = Recipe(Scheme(granularity="per_channel"))
    sim, x = tuned(recipe)
    back = checkpoint.load(checkpoint.save(sim, tmp_path / "a.safetensors"), net())
    one, other = export(sim, tmp_path / "one.onnx"), export(back, tmp_path / "other.onnx")
    assert one.read_bytes() == other.read_bytes()
    labels = torch.zeros(64, dtype=torch.long)
    again = qat.finetune(back, [(x, labels)], epochs=1, progress=False)
    assert not torch.equal(again(x), back(x))


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_target_and_what_stays_in_float_come_from_the_file(name, tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.GELU(), nn.Conv2d(8, 4, 1))
    x = torch.randn(4, 1, 8, 8)
    sim = calibrate(model, [x], RECIPES[name])
    back = checkpoint.load(checkpoint.save(sim, tmp_path / "a.safetensors"), model)
    assert (back.recipe, back.target) == (sim.recipe, sim.target)
    assert back.placement == sim.placement
    assert torch.equal(back(x), sim(x))


@pytest.mark.parametrize("target", ["onnxruntime", "litert"])
def test_modules_kept_in_float_are_those_of_the_file(target, tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten())
    x = torch.randn(4, 1, 8, 8)
    sim = calibrate(model, [x], target=target, keep_float=["2"])
    assert sim.placement.float_nodes == ("conv2d_1",)
    back = checkpoint.load(checkpoint.save(sim, tmp_path / "a.safetensors"), model)
    assert back.placement == sim.placement
    assert back.placement.keep_float == ("2",)
    assert torch.equal(back(x), sim(x))


def test_a_file_of_another_network_is_refused(tmp_path):
    sim, _ = tuned(RECIPES["per channel"])
    path = checkpoint.save(sim, tmp_path / "a.safetensors")
    narrow = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    with pytest.raises(DataError, match=r"does not fit SimulatedModel: .* in the file"):
        checkpoint.load(path, narrow)
    with pytest.raises(DataError, match="does not fit SimulatedModel"):
        checkpoint.load(path, nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))


def test_other_files_and_models_are_refused(tmp_path):
    plain = zoo.save(net(), tmp_path / "float.safetensors")
    with pytest.raises(DataError, match=r"float\.safetensors holds no simulated model.*q\.save"):
        checkpoint.load(plain, net())
    with pytest.raises(DataError, match=r"none\.safetensors is missing"):
        checkpoint.load(tmp_path / "none.safetensors", net())
    (tmp_path / "broken.safetensors").write_bytes(b"12345678 not tensors")
    with pytest.raises(DataError, match=r"broken\.safetensors is corrupt or truncated"):
        checkpoint.load(tmp_path / "broken.safetensors", net())
    with pytest.raises(InvalidInputError, match=r"got Sequential: make one with q\.calibrate"):
        checkpoint.save(net(), tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize(
    "words",
    ["", "[]", "{}", '{"recipe": {"weights": {"bits": 99}}, "target": "onnxruntime"}'],
    ids=["empty", "list", "nothing", "99 bits"],
)
def test_a_damaged_description_is_refused(tmp_path, words):
    path = write_tensors(net(), tmp_path / "a.safetensors", {"qutils.simulated": words})
    with pytest.raises(DataError, match="holds no simulated model"):
        checkpoint.load(path, net())
