from __future__ import annotations

import onnx
import pytest
from click.testing import CliRunner

from qutils.cli import main
from tests.unit.export.tensorrt_files import BROKEN, good


def checked(folder, model):
    onnx.save(model, folder / "model.onnx")
    return CliRunner().invoke(main, ["check", str(folder / "model.onnx"), "--target", "tensorrt"])


def test_a_good_file(tmp_path):
    result = checked(tmp_path, good())
    assert result.exit_code == 0
    assert "keeps the rules of tensorrt" in result.output


@pytest.mark.parametrize("name", ["int32-bias", "zero-point", "float-addend"])
def test_a_breach_is_told_with_its_node(name, tmp_path):
    make, rule = BROKEN[name]
    result = checked(tmp_path, make())
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{rule}: ")
    assert "Mend: " in result.stdout
    assert rule in result.stderr


def test_a_missing_file_and_an_unknown_target(tmp_path):
    result = CliRunner().invoke(main, ["check", str(tmp_path / "absent.onnx")])
    assert result.exit_code == 1
    assert "absent.onnx is missing" in result.output
    result = CliRunner().invoke(main, ["check", "x.onnx", "--target", "tensort"])
    assert result.exit_code == 2
    assert "did you mean 'tensorrt'" in result.output
