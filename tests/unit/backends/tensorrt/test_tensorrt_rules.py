from __future__ import annotations

import re
from collections import Counter

import onnx
import pytest

from qutils.backends.tensorrt.rules import RULES, check
from qutils.errors import DataError
from tests.unit.backends.tensorrt.tensorrt_files import BROKEN, GOOD


@pytest.mark.parametrize("name", GOOD)
def test_what_keeps_the_rules_passes(name):
    model = GOOD[name]()
    onnx.checker.check_model(model, full_check=True)
    assert check(model) == ()


@pytest.mark.parametrize("name", BROKEN)
def test_a_breach_is_found_and_nothing_else(name):
    make, rule = BROKEN[name]
    model = make()
    onnx.checker.check_model(model, full_check=True)  # it sees nothing wrong
    assert {violation.rule for violation in check(model)} == {rule}


def test_every_rule_has_a_file_that_breaks_it():
    assert {rule for _, rule in BROKEN.values()} == RULES.keys()


@pytest.mark.parametrize(
    ("name", "node", "what", "fix"),
    [
        ("uint8-activations", "x_q", "its integers are uint8", "int8"),
        ("zero-point", "x_q", "its zero point is -128", "zero point 0"),
        ("scale-of-zero", "x_q", "not above 0", "positive"),
        ("int32-bias", "conv0_b_dq", "a bias is int32", "float32"),
        ("channel-axis", "conv0_w_dq", "of conv0 are quantized along axis 1", "axis 0"),
        ("matmul-axis", "head_w_dq", "along axis 0", "axis 1"),
        ("activation-per-channel", "x_q", "16 scales", "one scale"),
        ("float-input", "conv0", "its input is not: it computes in float", "quantize its input"),
        ("float-weight", "conv0", "its weights are not", "quantize its weights"),
        ("split-relu", "conv0_q", "between conv0 and its Relu", "after relu0"),
        ("float-addend", "sum", "adds 'relu0', which is float, to .* conv1", "quantize 'relu0'"),
        ("operator-format", "product", "MatMulInteger", "QDQ"),
    ],
)
def test_node_fault_and_fix_are_named(name, node, what, fix):
    first = check(BROKEN[name][0]())[0]
    assert first.node == node
    assert re.search(what, first.what)
    assert fix in first.fix
    assert str(first) == f"{first.rule}: {node}: {first.what}. Fix: {first.fix}"


def test_a_node_without_name_goes_by_what_it_makes():
    model = BROKEN["zero-point"][0]()
    for node in model.graph.node:
        node.name = ""
    assert check(model)[0].node == "QuantizeLinear that makes 'x_q'"


def test_constants_may_be_nodes():
    model = BROKEN["zero-point"][0]()
    held = next(t for t in model.graph.initializer if t.name == "x_zero")
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["x_zero"], value=held))
    model.graph.initializer.remove(held)
    assert Counter(v.rule for v in check(model)) == {"zero-point": 2}


def test_a_file_is_read_as_its_model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(BROKEN["int32-bias"][0](), path)
    assert [violation.node for violation in check(path)] == ["conv0_b_dq"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is missing"), (b"\x08not a model", "corrupt or truncated"), (b"", "holds no graph")],
    ids=["missing", "corrupt", "empty"],
)
def test_files_that_cannot_be_read(content, message, tmp_path):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        check(path)
