from importlib.util import find_spec

import pytest
from click.testing import CliRunner

from qutils.cli import main

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
