import shutil
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from qutils import detection
from qutils.cli import main
from qutils.cli.commands.detecting import Asked, quantize_detector
from qutils.errors import DataError
from tests.unit.detection.tiny import NAMES, tiny_detector, write_data, write_label, write_picture

if find_spec("ultralytics") is None:  # importing it before our shim fails where torchvision is odd
    pytest.skip("ultralytics is not installed: make detection", allow_module_level=True)


def run(*args):
    return CliRunner().invoke(main, ["detector", *map(str, args)])


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("net.txt", (), "no fitting ending: end it in .onnx or .pt2 or .pte or .tflite"),
        ("net.tflite", ("--target", "openvino"), "no fitting ending for openvino: end it in .onnx"),
        ("net.onnx", ("--qat-epochs", "-1"), "-1.0 is not in the range x>=0"),
        ("net.onnx", ("--qat-epochs", "nan"), "nan is not a finite number of epochs"),
        ("net.onnx", ("--head", "one2on"), "did you mean 'one2one'?"),
    ],
    ids=["ending", "other target", "epochs", "endless epochs", "head"],
)
def test_what_cannot_be_made_is_refused_before_weights_are_read(tmp_path, out, options, message):
    result = run("net.pt", tmp_path / out, "--data", "x.yaml", *options)
    assert result.exit_code == 2
    assert message in result.output
    assert not list(tmp_path.iterdir())


def test_missing_weights_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_OFFLINE", "True")
    result = run(tmp_path / "no.pt", tmp_path / "net.onnx", "--data", "x.yaml")
    assert result.exit_code == 1
    assert "no.pt is missing" in result.output


# Data ---------------------------------------------------------------------------------------------


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """A network of hand-made layers in the place of weights: these tests are about the data."""
    read = SimpleNamespace(names=NAMES, path=tmp_path / "net.pt")
    (tmp_path / "net.pt").write_bytes(b"")
    monkeypatch.setattr(detection, "read_weights", lambda path: read)
    monkeypatch.setattr(
        detection,
        "as_detector",
        lambda weights, size, head, normalized: tiny_detector(normalized=normalized),
    )
    return tmp_path / "net.pt"


def quantized(weights, data, *options):
    out = weights.parent / "net.onnx"
    result = run(weights, out, "--data", data, "--size", "32", *options)
    return result, out


def roboflow(folder):
    """Folders ``train`` and ``valid`` and the YAML that Roboflow writes beside them."""
    for split in ("train", "valid"):
        for i in range(2):
            write_label(
                write_picture(folder / split / "images" / f"{i}.jpg", ord(split[0]) + i),
                "1 0.5 0.5 0.25 0.5\n",
            )
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 3\n"
    (folder / "data.yaml").write_text(f"{text}names: {list(NAMES)}\n")
    return folder / "data.yaml"


def test_a_dataset_of_roboflow_is_quantized_scored_and_told(weights):
    data = roboflow(weights.parent / "My Project-3")
    for picture in (data.parent / "valid" / "images").iterdir():
        write_label(picture, "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.4 0.1 0.4 0.4\n")
    result, out = quantized(weights, data)
    assert result.exit_code == 0, result.output
    assert out.is_file()
    first, second, third, fourth, *rest = result.stdout.splitlines()
    assert first.endswith("'train: ../train/images' is read as 'train/images': no such folder")
    assert second.endswith("'val: ../valid/images' is read as 'valid/images': no such folder")
    assert third == "calibration: 2 images"
    assert fourth == (
        "val: 2 images, 2 with labels (4 boxes, 2 of them around outlines), 0 without; label "
        "files with boxes and outlines: 2 (Ultralytics leaves out their images; here each outline "
        "counts as the box around it)"
    )
    assert rest[-1].endswith(" 2 pictures")  # all of them are scored


@pytest.mark.parametrize(
    ("split", "label", "options", "message"),
    [
        ("val", "3 0.5 0.5 0.2 0.2", (), "line 1 (3 0.5 0.5 0.2 0.2): class 3 has no name"),
        ("calibration", None, (), "0.png cannot be read: not an image. Remove or replace it."),
        ("val", None, (), "1 of 2 images of split 'val' are invalid"),
        ("train", None, ("--qat-epochs", "1"), "1 of 2 images of split 'train' are invalid"),
    ],
    ids=["label", "calibration image", "scored image", "image to train on"],
)
def test_invalid_data_is_named_before_anything_is_written(weights, split, label, options, message):
    data = write_data(weights.parent / "set")
    picture = weights.parent / "set" / "images" / split / "0.png"
    if label is None:
        picture.write_bytes(b"no image")
    else:
        write_label(picture, label)
    result, out = quantized(weights, data, *options)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not out.exists()


def test_labels_are_not_needed_without_a_score(weights):
    data = write_data(weights.parent / "set")
    shutil.rmtree(weights.parent / "set" / "labels")
    out = weights.parent / "net.onnx"
    asked = Asked(weights, out, str(data), 32, "one2many", 2, "minmax", None, 0.0, ())
    with pytest.raises(DataError, match="no picture of split 'val'"):
        next(quantize_detector(asked, score=True))
    assert next(quantize_detector(asked, score=False)) == "calibration: 2 images"


def test_quantize_names_the_command_for_detectors():
    result = CliRunner().invoke(main, ["quantize", "net.pt", "net.onnx", "--data", "mine.yaml"])
    assert result.exit_code == 2
    advice = "qutils detector net.pt net.onnx --data mine.yaml"
    assert advice in " ".join(result.output.split())
    assert CliRunner().invoke(main, [*advice.split()[1:], "--help"]).exit_code == 0
