"""Simulated models: written, read back without data, and refused if they do not fit."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from qutils import zoo
from qutils.backends.export import export
from qutils.errors import DataError, InvalidInputError
from qutils.numerics.schemes import Recipe, Scheme
from qutils.numerics.tensors import write_tensors
from qutils.quantize import checkpoint, qat
from qutils.quantize.calibration import calibrate


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
    with pytest.raises(DataError, match=r"operator 2 is conv2d in module '0' there, view in"):
        checkpoint.load(path, nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))


def test_a_file_of_the_network_placed_otherwise_says_what_helps(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    sim, _ = tuned(RECIPES["per channel"])
    path = checkpoint.save(sim, tmp_path / "a.safetensors")
    with safe_open(path, "pt") as file:
        about = file.metadata()
    tensors = load_file(path)
    gone = next(name for name in tensors if "quantizer_" in name)
    save_file({name: x for name, x in tensors.items() if name != gone}, path, about)
    with pytest.raises(DataError, match="this network by another version of qutils.*calibrate the"):
        checkpoint.load(path, net())


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


class Twice(nn.Module):
    """One network, or another of the very same tensors."""

    def __init__(self, activation=torch.relu, eps: float = 1e-5, residual: bool = True) -> None:
        super().__init__()
        self.activation, self.residual = activation, residual
        self.a, self.b = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.norm = nn.BatchNorm2d(4, eps=eps)

    def forward(self, x):
        y = self.activation(self.norm(self.a(x)))
        y = y + self.b(y)
        return (y + (x if self.residual else y)).mean((2, 3))


OTHERS = {
    "operator": ({"activation": nn.functional.relu6}, r"operator \d+ is relu there, relu6 here"),
    "argument": ({"eps": 0.1}, "the same operators, with other arguments"),
    "connection": ({"residual": False}, "the same operators, with other arguments"),
    "without kernel": (
        {"activation": lambda x: x.relu().flip(-1)},
        r"operator \d+ is conv2d .* there, flip here",
    ),
    "one more": (
        {"activation": lambda x: x.relu() + x},
        r"operator \d+ is conv2d .* there, add here",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_network_of_the_same_tensors_is_refused(name, tmp_path):
    options, difference = OTHERS[name]
    x = torch.randn(8, 4, 8, 8)
    path = checkpoint.save(calibrate(Twice().eval(), x), tmp_path / "a.safetensors")
    other = Twice(**options).eval()
    with pytest.raises(DataError, match=rf"from another network: {difference}.*Build the mo"):
        checkpoint.load(path, other)
    assert torch.isfinite(checkpoint.load(path, Twice())(x)).all()


@pytest.mark.parametrize("part", ["weights", "mode", "wrapper", "module names"])
def test_the_same_network_is_known_whatever_its(part, tmp_path):
    x = torch.randn(8, 4, 8, 8)
    sim = calibrate(Twice().eval(), x)
    path = checkpoint.save(sim, tmp_path / "a.safetensors")
    other = {
        "weights": Twice,
        "mode": lambda: Twice().train(),
        "wrapper": lambda: nn.DataParallel(Twice()),
        "module names": lambda: Twice(activation=nn.ReLU()),
    }[part]()
    assert torch.equal(checkpoint.load(path, other)(x), sim(x))


def test_a_computed_weight_and_the_plain_one_are_the_same_network(tmp_path):
    x = torch.randn(4, 1, 8, 8)
    normed = net()
    nn.utils.parametrizations.weight_norm(normed[0])
    sim = calibrate(normed.eval(), x)
    path = checkpoint.save(sim, tmp_path / "a.safetensors")
    assert torch.equal(checkpoint.load(path, net())(x), sim(x))


def test_a_file_that_does_not_say_its_network_is_opened_with_a_warning(tmp_path, monkeypatch):
    sim, x = tuned(RECIPES["per channel"])
    dumps = checkpoint.json.dumps
    with monkeypatch.context() as patch:
        patch.setattr(
            checkpoint.json,
            "dumps",
            lambda made, **options: dumps(
                {key: value for key, value in made.items() if key != "network"}, **options
            ),
        )
        path = checkpoint.save(sim, tmp_path / "a.safetensors")
    with pytest.warns(UserWarning, match=r"does not say which network .*Save it again with q\.sa"):
        back = checkpoint.load(path, net())
    assert torch.equal(back(x), sim(x))
    checkpoint.save(back, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoint.load(path, net())
