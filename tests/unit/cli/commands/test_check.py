from __future__ import annotations

import onnx
import pytest
from click.testing import CliRunner
from onnx import helper

from qutils.backends.tensorrt.rules import Violation
from qutils.cli import main
from qutils.cli.commands.check import CHECKS, findings
from tests.unit.backends.tensorrt.tensorrt_files import BROKEN, good


def checked(folder, model):
    onnx.save(model, folder / "model.onnx")
    return CliRunner().invoke(main, ["check", str(folder / "model.onnx"), "--target", "tensorrt"])


def test_a_good_file(tmp_path):
    result = checked(tmp_path, good())
    assert result.exit_code == 0
    assert "keeps the rules of tensorrt" in result.output
    assert "float file" not in result.output


def test_a_float_file_has_no_quantizers_that_could_break_a_rule(tmp_path):
    model = good()
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    model.graph.CopyFrom(
        helper.make_graph(
            nodes, "g", *([helper.make_tensor_value_info(name, 1, ["n", 4])] for name in "xy")
        )
    )
    result = checked(tmp_path, model)
    assert result.exit_code == 0
    assert "holds no QuantizeLinear: it is a float file" in result.output


@pytest.mark.parametrize("name", ["int32-bias", "zero-point", "float-addend"])
def test_a_breach_is_told_with_its_node(name, tmp_path):
    make, rule = BROKEN[name]
    result = checked(tmp_path, make())
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{rule}: ")
    assert "Fix: " in result.stdout
    assert rule in result.stderr


def test_breaches_of_one_kind_are_told_once():
    many = [
        *(
            Violation("zero-point", f"Q 'q{i}'", f"its zero point is {i}", "be 0")
            for i in range(40)
        ),
        *(
            Violation("int8", f"Q 'q{i}'", "its integers are uint8", "quantize to int8")
            for i in "ab"
        ),
        Violation("scale", "Q 'last'", "its scale is computed while it runs", "store the scale"),
        Violation("scale", "Q 'last'", "a scale is not above 0 and finite", "be positive"),
    ]
    assert findings(many) == [
        "zero-point: 40 times, Q 'q0', Q 'q1', Q 'q2' and 37 more: of the first, its zero point is "
        "0. Fix: be 0",
        "int8: 2 times, Q 'qa', Q 'qb': its integers are uint8. Fix: quantize to int8",
        "scale: Q 'last': its scale is computed while it runs. Fix: store the scale",
        "scale: Q 'last': a scale is not above 0 and finite. Fix: be positive",
    ]


def test_the_help_says_whose_rules_they_are():
    text = CliRunner().invoke(main, ["check", "--help"]).output
    assert "The rules are TensorRT's alone" in text
    assert [*CHECKS] == ["tensorrt"]


def test_a_missing_file_and_an_unknown_target(tmp_path):
    result = CliRunner().invoke(main, ["check", str(tmp_path / "absent.onnx")])
    assert result.exit_code == 1
    assert "absent.onnx is missing" in result.output
    result = CliRunner().invoke(main, ["check", "x.onnx", "--target", "tensort"])
    assert result.exit_code == 2
    assert "did you mean 'tensorrt'" in result.output
