from __future__ import annotations

from dataclasses import replace

import pytest

from qutils.errors import DataError, InvalidInputError, UnsupportedError
from qutils.explain import advice, explain, lines
from qutils.explain.cpu import offers
from qutils.explain.report import Variant


@pytest.fixture
def found(int8):
    return explain(int8("two-readers"), runs=5)


def test_it_says_what_was_measured(found):
    text = "\n".join(lines(found))
    assert "threads 1), whole run in ONNX Runtime, measured" in text
    assert "Erf 'second': ONNX Runtime has no integer kernel for Erf on the CPU" in text
    assert "multiply-adds/s in INT8" in text
    assert f"float {found.profile.share('float'):.0f} %, conversion " in text
    header = next(line for line in lines(found) if "measured  estimated" in line)
    assert header.split() == ["multiply-adds", "bytes", "measured", "estimated", "reached"]
    assert found.ratio is None
    assert found.quantized


def test_beside_the_float_file(int8, fp32):
    found = explain(int8(), fp32, runs=5)
    assert found.floats is not None
    assert found.floats.share("integer") == 0
    assert found.ratio.low <= found.ratio.median <= found.ratio.high
    assert any("of the float file's time (95 % interval" in line for line in lines(found))


def test_a_larger_batch_is_tried(found):
    assert {"batch 8"} <= {variant.name for variant in found.variants}
    for variant in found.variants:
        assert any(f"Measured with {variant.name}: " in said for said in advice(found))


def test_islands_are_named_with_their_reason(found):
    ops = {op.executed.op: op for op in found.float_ops}
    slow = replace(ops["Erf"].executed, milliseconds=1000.0)
    changed = replace(
        found,
        float_ops=(replace(ops["Erf"], executed=slow),),
        profile=replace(found.profile, executed=(slow,)),
    )
    assert "Float island, 100 % of the time: Erf 'second': ONNX Runtime has no integer kernel" in (
        "\n".join(advice(changed))
    )


def test_conversions_are_named_with_the_longest(found):
    first, *rest = (one for one in found.profile.executed if one.kind == "conversion")
    slow = replace(first, milliseconds=1000.0)
    changed = replace(found, profile=replace(found.profile, executed=(slow, *rest)))
    assert f"take 100 % of the time, {first.title!r} the longest" in "\n".join(advice(changed))


def test_channels_that_do_not_fill_the_kernel_are_named(found):
    one = found.profile.executed[0]
    slow = {"kind": "integer", "milliseconds": 1000.0}
    for weight, groups, words in (
        ((24, 16, 3, 3), 1, r"'layer' (16 to 24)"),
        ((32, 1, 3, 3), 32, "one channel a group"),
        ((32, 16, 3, 3), 1, None),
    ):
        layer = replace(one, name="layer", weight=weight, groups=groups, **slow)
        profile = replace(found.profile, executed=(layer,))
        said = "\n".join(advice(replace(found, profile=profile, float_ops=())))
        assert (words in said) if words else ("channel" not in said)


def test_a_cpu_without_vnni_says_what_exact_costs(found):
    old = replace(
        found,
        offers=offers(frozenset({"avx2"})),
        variants=(Variant("exact=False", 0.5, 0.5),),
    )
    assert any("lacks VNNI" in said and "exact=False takes 0.50" in said for said in advice(old))
    new = replace(found, offers=offers(frozenset({"avx2", "avx_vnni"})))
    assert not any("VNNI" in said for said in advice(new))


def test_a_float_file_is_told_to_quantize(fp32):
    found = explain(fp32, runs=5)
    assert not found.quantized
    assert advice(found)[0].startswith("The file is float throughout. Quantize it")
    assert any(line.startswith("In float: all ") for line in lines(found))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"runs": 3}, InvalidInputError, "need runs >= 5"),
        ({"batch": 0}, InvalidInputError, "batch of 0"),
        ({"threads": 0}, InvalidInputError, "threads must be"),
        ({"float_path": "absent.onnx"}, DataError, r"absent\.onnx is missing"),
    ],
    ids=["runs", "batch", "threads", "float"],
)
def test_bad_input(int8, options, error, message):
    with pytest.raises(error, match=message):
        explain(int8(), **options)


def test_a_file_that_loads_and_cannot_run(int8):
    with pytest.raises(UnsupportedError, match=r"cannot run a batch of \[1, 16, 12, 12\].*scalar"):
        explain(int8("per-axis-output"), runs=5)


def test_a_quantized_file_is_no_float_file(int8):
    with pytest.raises(InvalidInputError, match="holds quantizers: give the float file"):
        explain(int8(), int8("output"), runs=5)
