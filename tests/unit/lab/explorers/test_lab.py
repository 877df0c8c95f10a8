from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from qutils import calibrate, zoo
from qutils.cli.commands.quantize import command as quantize
from qutils.cli.commands.request import Request
from qutils.cli.commands.train import command as train
from qutils.errors import InvalidInputError
from qutils.evaluate import bench
from qutils.evaluate.analysis import sqnr_db
from qutils.files import ROOT
from qutils.lab.explorers import lab_setting
from qutils.lab.explorers.lab import LabExplorer
from qutils.lab.explorers.lab_setting import Setting
from qutils.lab.explorers.lab_words import NOTEBOOK, run_command
from qutils.lab.runner.coercion import Text
from qutils.lab.runner.parameters import read_parameters, resolve
from qutils.numerics import affine

N = 60
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "mobilenet": {"model": "mobilenetv2", "weight_bits": 3, "observer": "mse"},
    "groups": {"granularity": "per_group", "tensor": "stage1.conv1.weight"},
    "symmetric": {"mapping": "symmetric", "activation_bits": 4, "tensor": "input"},
    "qat": {"method": "qat", "weight_bits": 2, "tensor": "stage3.conv2.weight"},
    "no checkpoint": {"method": "qat", "weight_bits": 5},
}


@pytest.fixture(scope="module")
def lab() -> LabExplorer:
    return LabExplorer(pictures=N)


@pytest.fixture(scope="module")
def own() -> LabExplorer:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    x, labels = torch.randn(40, 1, 8, 8), torch.arange(40) % 3
    return LabExplorer(model, (x, labels), classes=("a<b", "b", "c"))


def given_by(command: str) -> dict[str, object]:
    """The parameters that ``qutils run`` makes of a command."""
    program, run, notebook, _, *words = shlex.split(command)
    assert (program, run) == ("qutils", "run")
    assert words[::3] == ["-p"] * (len(words) // 3)
    typed = {name: Text(value) for name, value in zip(words[1::3], words[2::3], strict=True)}
    return resolve(read_parameters(ROOT / notebook), typed)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_the_command_gives_the_same_numbers(lab, name):
    shown = lab.view(**SETTINGS[name])
    (_, command), *_ = shown.commands
    given = given_by(command)
    assert given.pop("profile") == "default"
    again = lab.view(**given)
    assert again.numbers == shown.numbers
    assert again.alt == shown.alt


def test_a_command_survives_any_shell():
    command = run_command("my notebook.ipynb", "out $HOME", {"tensor": "a b'; rm -rf /", "bits": 4})
    assert shlex.split(command)[2:] == [
        "my notebook.ipynb", "out $HOME", "-p", "tensor", "a b'; rm -rf /", "-p", "bits", "4",
    ]  # fmt: skip


def test_parameters_of_the_notebook_mirror_the_controls(lab):
    declared = {parameter.name: parameter for parameter in read_parameters(ROOT / NOTEBOOK)}
    assert set(declared) == {control.name for control in lab.controls} | {"profile"}
    for control in lab.controls:
        parameter = declared[control.name]
        assert parameter.default == control.default
        assert control.name == "tensor" or parameter.choices == control.options


@pytest.mark.parametrize("name", ["default", "mobilenet", "groups", "symmetric"])
def test_numbers_are_the_librarys(lab, name):
    view = lab.view(**SETTINGS[name])
    setting = Setting.of(lab.complete(SETTINGS[name]), "")
    data = zoo.dataset("fashion_mnist")
    split = data.calibration.take(256)
    model = zoo.load(setting.model)
    sim = calibrate(model, split.prepare(split.images), setting.recipe)
    batches = [(x.numpy(), y.numpy()) for x, y in data.test.take(N)]
    numbers = view.numbers
    assert numbers["top1"] == bench.evaluate(bench.predict_with(sim), batches).top1
    assert numbers["float_top1"] == bench.evaluate(bench.predict_with(model), batches).top1
    scale = sim.quantizers[str(numbers["tensor"])].qparams().scale
    assert numbers["scale"] == float(scale.max())


def test_a_weight_by_itself_has_the_sqnr_of_its_values(lab):
    view = lab.view(weight_bits=3, tensor="stage2.conv1.weight")
    outcome, subject = lab.outcome(weight_bits=3), lab.subjects["resnet8"]
    weight = subject.observation.weight(subject.sites["stage2.conv1.weight"])
    q = outcome.qparams["stage2.conv1.weight"]
    expected = sqnr_db(weight, affine.fake_quantize(weight, q))
    assert view.numbers["tensor_sqnr_db"] == expected
    assert view.data.tensor_sqnr_db == expected
    assert len(view.data.low) == len(weight)  # a range for each channel
    assert view.data.counts.sum() == weight.numel()


@pytest.mark.parametrize("tensor", ["stage1.conv1", "stage2.conv1", "stage1.conv1.weight"])
def test_what_is_drawn_as_clipped_is_what_is_clipped(lab, tensor):
    """Values up to half a step beyond the last level still round to it."""
    view = lab.view(weight_bits=2, activation_bits=2, observer="mse", tensor=tensor)
    lab.picture(view)
    q = lab.outcome(weight_bits=2, activation_bits=2, observer="mse").qparams[tensor]
    left, right = (cut.get_x() for cut in lab.plot.cut)
    left += lab.plot.cut[0].get_width()
    ends = [(q.scale * (end - q.zero_point)).double() for end in (q.qmin, q.qmax)]
    half = q.scale.double() / 2
    assert left == pytest.approx(float((ends[0] - half).min()))
    assert right == pytest.approx(min(lab.plot.hist.get_xlim()[1], float((ends[1] + half).max())))


def test_qat_answers_with_its_checkpoint(lab):
    view = lab.view(method="qat", weight_bits=2, activation_bits=8)
    sim = zoo.load_quantized("resnet8", 2, 8)
    batches = [(x.numpy(), y.numpy()) for x, y in zoo.dataset("fashion_mnist").test.take(N)]
    assert view.numbers["method"] == "QAT"
    assert view.numbers["top1"] == bench.evaluate(bench.predict_with(sim), batches).top1
    assert "checkpoint resnet8-w2a8" in view.note
    assert view.numbers["top1"] > lab.view(weight_bits=2).numbers["top1"]


@pytest.mark.parametrize(
    "change",
    [{"weight_bits": 5}, {"granularity": "per_tensor"}, {"mapping": "symmetric"}],
    ids=str,
)
def test_where_no_checkpoint_fits_ptq_answers_and_says_so(lab, change):
    setting = {"weight_bits": 2, "activation_bits": 8, **change}
    asked, ptq = lab.view(method="qat", **setting), lab.view(method="ptq", **setting)
    assert asked.numbers == ptq.numbers
    assert asked.numbers["method"] == "PTQ"
    assert "these numbers are PTQ's" in asked.note
    assert "W2A8" in asked.note  # one that there is


def test_the_menu_follows_the_files_that_are_there(lab, monkeypatch):
    monkeypatch.setattr(zoo.QatCheckpoint, "path", property(lambda self: Path("/none") / self.name))
    assert lab_setting.shipped() == ()
    bare = LabExplorer(pictures=N)
    method = next(control for control in bare.controls if control.name == "method")
    assert method.text("qat") == "QAT (no checkpoint here)"
    asked, ptq = bare.view(method="qat", weight_bits=2), bare.view(weight_bits=2)
    assert asked.numbers == ptq.numbers
    (_, command), *_ = asked.commands[1:]
    words = shlex.split(command)
    assert words[:2] == ["qutils", "train"]
    context = train.make_context("train", words[2:])
    assert (context.params["model"], context.params["bits"]) == ("resnet8", (2, 8))
    assert context.params["out"] == Path("data/checkpoints/resnet8-w2a8.safetensors")


@pytest.mark.parametrize("observer", ["minmax", "entropy"])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_a_setting_with_kernels_names_the_command_that_exports_it(lab, observer, granularity):
    setting = {"weight_bits": 8, "activation_bits": 8}
    setting |= {"observer": observer, "granularity": granularity}
    view = lab.view(**setting)
    (_, command), *_ = view.commands[1:]
    program, name, *words = shlex.split(command)
    assert (program, name) == ("qutils", "quantize")
    request = Request.of(quantize.make_context("quantize", words).params)
    assert request.recipe == Setting.of(lab.complete(setting), "").recipe
    assert request.pictures == lab.subjects["resnet8"].observation.pictures
    assert request.out is not None
    assert not request.without_kernels


def test_the_export_of_a_checkpoint_is_python_that_compiles(lab):
    view = lab.view(method="qat", weight_bits=8, activation_bits=8)
    (_, command), *_ = view.commands[1:]
    python, flag, code = shlex.split(command)
    assert (python, flag) == ("python", "-c")
    compile(code, "command", "exec")
    assert 'load_quantized("resnet8", 8, 8)' in code


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"weight_bits": 4}, "4-bit weights"),
        ({"weight_bits": 8, "granularity": "per_group"}, "per_group weights"),
        ({"weight_bits": 8, "mapping": "symmetric"}, "symmetric activations"),
    ],
    ids=str,
)
def test_a_setting_without_kernels_says_why_and_names_no_export(lab, setting, reason):
    view = lab.view(**setting)
    assert "cannot be exported" in view.note
    assert reason in view.note
    assert len(view.commands) == 1


def test_a_tensor_of_the_other_network_falls_back_and_says_so(lab):
    view = lab.view(model="mobilenetv2", tensor="stage1.conv1.weight")
    worst = lab.view(model="mobilenetv2", tensor="worst")
    assert view.numbers == worst.numbers
    assert "MobileNetV2 has no tensor stage1.conv1.weight" in view.note


def test_thumbnails_show_what_flipped_with_the_right_class_marked(lab):
    setting = {"weight_bits": 2, "activation_bits": 2}
    data, outcome = lab.view(**setting).data, lab.outcome(**setting)
    names = lab.subjects["resnet8"].test.classes
    assert data.flipped == len(outcome.flips) > len(data.thumbnails) == 12
    for tile, flip in zip(data.thumbnails, outcome.flips, strict=False):
        assert tile.before.removesuffix(" ✓") == names[flip.before]
        assert tile.after.removesuffix(" ✓") == names[flip.after]
        assert tile.before.endswith("✓") == (flip.before == flip.label)
        assert tile.pixels.shape == (28, 28, 3)


def test_pages_without_a_kernel_offer_few_settings(lab):
    settings = list(lab.frames())
    assert len(settings) == 64
    assert {setting["method"] for setting in settings} == {"ptq", "qat"}


def test_a_network_of_ones_own(own):
    view = own.view(weight_bits=3, tensor="0.weight")
    assert [control.name for control in own.controls][:2] == ["weight_bits", "activation_bits"]
    assert view.numbers["tensor"] == "0.weight"
    assert len(own.picture(view)) > 1000
    ((_, command),) = view.commands
    code = command.replace("LabExplorer(model, data)", "own")
    again = eval(code, {"own": own})
    assert again.numbers == view.numbers


def test_a_model_goes_with_its_data():
    with pytest.raises(InvalidInputError, match="goes with data"):
        LabExplorer(nn.Linear(2, 2))
    with pytest.raises(InvalidInputError, match="goes with data"):
        LabExplorer(data=(torch.zeros(4, 2), torch.zeros(4)))


def test_what_stays_in_float_is_said(lab):
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.Mish(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(4 * 16, 3))
    mixed = LabExplorer(model, (torch.randn(40, 1, 8, 8), torch.arange(40) % 3))
    view = mixed.view(weight_bits=8)
    assert "No integer kernel, kept in float: mish (1)" in view.note
    assert view.numbers["integer_share"] == lab.view(weight_bits=8).numbers["integer_share"] == 100
    assert "kept in float" not in lab.view(weight_bits=8).note
