from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from qutils.cli import main
from qutils.errors import DataError

if find_spec("ultralytics") is None:  # importing it before our shim fails where torchvision is odd
    pytest.skip("ultralytics is not installed: make detection", allow_module_level=True)


def run(*args):
    return CliRunner().invoke(main, ["detector", *map(str, args)])


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("net.txt", (), "no fitting ending: one of"),
        ("net.tflite", ("--target", "openvino"), "no fitting ending for openvino"),
        ("net.onnx", ("--qat-epochs", "-1"), "qat-epochs is at least 0"),
    ],
    ids=["ending", "other target", "epochs"],
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


def test_dataset_of_no_such_name_is_refused_with_the_closest():
    from qutils.commands.detecting import Asked

    asked = Asked(Path("net.pt"), Path("net.onnx"), "coco9.yaml", 64, 4, "mse", None, 0.0, ())
    with pytest.raises(DataError, match=r"coco9.yaml is missing.*did you mean coco8?\.yaml"):
        asked.dataset()


def test_a_path_to_a_dataset_that_is_missing_is_named(tmp_path):
    from qutils.commands.detecting import Asked

    asked = Asked(
        Path("net.pt"), Path("net.onnx"), f"{tmp_path}/no.yaml", 64, 4, "mse", None, 0.0, ()
    )
    with pytest.raises(DataError, match=r"no\.yaml is missing"):
        asked.dataset()
