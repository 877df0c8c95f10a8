from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from qutils.errors import DataError, InvalidInputError, UnsupportedError
from qutils.evaluate.bench.latency import Latency, Ratio
from qutils.evaluate.explain import Load, advice, explain, lines, remarks
from qutils.evaluate.explain.advice import INEXACT
from qutils.evaluate.explain.busy import load_of, share_of_core
from qutils.evaluate.explain.cpu import offers
from qutils.evaluate.explain.report import Variant
from tests.unit.evaluate.explain.files import save

IDLE = Load(core=1.0, spread=0.0)
WITHOUT_VNNI = offers(frozenset({"avx2"}))


def slowed(found, kind):
    """The profile with one operator of a kind that takes nearly all of the time."""
    profile = found.profile
    one = next(one for one in profile.executed if one.kind == kind)
    slow = replace(one, milliseconds=1000.0, durations=(1000.0,) * profile.runs)
    return replace(profile, executed=tuple(slow if o is one else o for o in profile.executed))


@pytest.fixture
def found(int8):
    return explain(int8("two-readers"), runs=5)


def test_it_says_what_was_measured(found):
    text = "\n".join(lines(found))
    assert "threads 1), whole run in ONNX Runtime, measured" in text
    assert "Erf 'second': ONNX Runtime has no integer kernel for Erf on the CPU" in text
    assert "multiply-adds/s in INT8" in text
    assert f"float {found.profile.share('float'):.0f} %, conversion " in text
    header = next(line for line in lines(found) if "multiply-adds " in line and "reached" in line)
    assert header.split() == ["multiply-adds", "bytes", "measured", "IQR", "estimated", "reached"]
    assert "ONNX Runtime's kernels saturate on x86 with AVX2 or AVX-512 but no VNNI" in text
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
    idle = replace(found, load=IDLE)
    for variant in found.variants:
        if variant.name == INEXACT:  # measured without VNNI only; has a sentence of its own
            continue
        said = [*advice(idle), *remarks(idle)]
        assert any(
            f"Measured with {variant.name}: {variant.milliseconds:.3g} ms" in s for s in said
        )
        assert variant.iqr_ms > 0
        assert 0 < variant.ratio.low <= variant.ratio.median <= variant.ratio.high


def test_spreads_stand_beside_medians(found):
    profile = found.profile
    conv = next(one for one in profile.executed if one.weight)
    assert len(conv.durations) == profile.runs
    assert conv.milliseconds == np.median(conv.durations)
    q25, q75 = np.percentile(conv.durations, [25, 75])
    assert conv.iqr_ms == pytest.approx(q75 - q25)
    assert profile.iqr_ms(conv.op, conv.kind) >= 0
    every = np.sum([one.durations for one in profile.executed], axis=0)
    assert profile.iqr_ms() == pytest.approx(np.subtract(*np.percentile(every, [75, 25])))
    assert f"{conv.iqr_ms:.4f}" in "\n".join(lines(found))


@pytest.mark.parametrize(("core", "spread"), [(0.5, 0.0), (1.0, 0.6)])
def test_a_busy_machine_is_not_judged(found, core, spread):
    faster = (Variant("batch 8", 0.1, Ratio(0.5, 0.4, 0.6), 0.01),)
    found = replace(found, profile=slowed(found, "conversion"), offers=WITHOUT_VNNI)
    idle, busy = (replace(found, load=load, variants=faster) for load in (IDLE, Load(core, spread)))
    assert any(" % of the time, " in said for said in advice(idle))
    assert not any("of the time" in said for said in advice(busy))
    assert any(said.startswith("Measured with batch 8: 0.1 ms") for said in advice(idle))
    assert not any("Measured" in said for said in advice(busy))
    said = remarks(busy)
    assert said[0].startswith("The machine is too busy to judge times: this process got")
    assert "take less, cannot be told" in said[0]
    assert "Measured with batch 8, not to be judged: 0.1 ms" in said[-1]
    assert not any("busy" in said for said in remarks(idle))
    assert not any("only" in said for said in said[1:])  # the ceiling is one of these times


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.4, 0.6, ""), (0.9, 0.97, "; whether it gains cannot be told"), (0.96, 1.2, "; no gain")],
    ids=["gain", "open", "none"],
)
def test_a_variant_is_judged_by_its_interval(found, low, high, verdict):
    ratio = Ratio((low + high) / 2, low, high)
    idle = replace(found, load=IDLE, variants=(Variant("batch 8", 0.1, ratio, 0.01),))
    said = [one for one in (*advice(idle), *remarks(idle)) if one.startswith("Measured")]
    assert said == [
        f"Measured with batch 8: 0.1 ms a sample (IQR 0.01 ms), {ratio.median:.2f} (95 % interval "
        f"{low:.2f} to {high:.2f}) of the time{verdict}."
    ]
    assert (said[0] in advice(idle)) == (not verdict)


@pytest.mark.parametrize(
    ("ratio", "load", "verdict"),
    [
        (Ratio(0.5, 0.4, 0.6), IDLE, "measured in turns"),
        (Ratio(1.0, 0.9, 1.1), IDLE, "measured in turns; which is faster cannot be told"),
        (
            Ratio(0.5, 0.4, 0.6),
            Load(0.5, 0.0),
            "measured in turns; which is faster cannot be told, the machine is too busy",
        ),
    ],
    ids=["told", "open", "busy"],
)
def test_the_float_file_is_compared_only_if_it_can_be_told(found, ratio, load, verdict):
    said = next(
        s for s in lines(replace(found, ratio=ratio, load=load)) if "float file's time" in s
    )
    assert said.endswith(verdict)


def test_a_share_has_an_interval_over_runs(found):
    one, other = found.profile.executed[:2]
    shares = []
    for durations in ((1.0,) * 30, (0.0001,) * 14 + (100.0,) * 16):
        timed = replace(one, durations=durations)
        executed = (timed, replace(other, durations=(1.0,) * 30))
        shares.append(replace(found.profile, executed=executed).part([timed]))
    steady, shaky = shares
    assert (steady.low, steady.median, steady.high) == (0.5, 0.5, 0.5)
    assert shaky.median > 0.9 > 0.01 > shaky.low  # which no verdict follows from
    assert found.profile.part([]).median == 0


def test_a_core_that_others_use_is_shared():
    """A thread that waits for a moment does not compute all the time."""
    latency = Latency(2.0, 0.5, 50, 1, 1)
    assert load_of((1.0, 0.4, 0.9), latency) == Load(0.4, 0.25)
    assert 0 < share_of_core(0.02) <= 1


def test_open_axes_are_compared_with_fixed_ones(tmp_path):
    """Either file may leave axes open; what the float file fixes is run."""
    values = {"f": np.ones((4, 3, 3, 3), np.float32)}
    conv = [helper.make_node("Conv", ["x", "f"], ["y"], "layer", pads=[1] * 4)]
    fixed = save(tmp_path / "fixed.onnx", conv, values, (2, 3, 8, 8))
    opened = save(tmp_path / "open.onnx", conv, values, ("n", 3, "h", "w"))
    found = explain(opened, fixed, runs=5)
    assert (found.latency.batch, found.profile.executed[0].output_shape[-2:]) == (2, (8, 8))
    assert found.ratio.low <= found.ratio.high
    assert explain(fixed, opened, runs=5).latency.batch == 2
    other = save(tmp_path / "other.onnx", conv, values, (2, 3, 9, 9))
    with pytest.raises(InvalidInputError, match="give the float file of the same network"):
        explain(other, fixed, runs=5)
    with pytest.raises(
        InvalidInputError, match=r"\[2, 3, 6, 6\], the model expects \[2, 3, 8, 8\]"
    ):
        explain(opened, fixed, sizes=(3, 6, 6), runs=5)


def test_names_are_those_of_the_file(tmp_path, int8):
    """Unnamed nodes go by their output; a node that the optimizer fused keeps its own name."""
    values = {"f": np.ones((3, 3, 3, 3), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "f"], ["first_conv"], pads=[1] * 4),
        helper.make_node("Relu", ["first_conv"], ["r"]),
        helper.make_node("Conv", ["r", "f"], ["a"], "second", pads=[1] * 4),
        helper.make_node("Conv", ["a", "f"], ["y"], pads=[1] * 4),
    ]
    found = explain(save(tmp_path / "net.onnx", nodes, values, (1, 3, 8, 8)), runs=5)
    titles = [one.title for one in found.profile.executed if one.weight]
    assert titles == ["first_conv", "second", "y"]
    kernel = next(one for one in explain(int8(), runs=5).profile.executed if one.weight)
    assert (kernel.op, kernel.title) == ("QLinearConv", "layer")


@pytest.mark.parametrize(
    ("op", "words"),
    [("Div", "write it as Mul by the reciprocal"), ("Sub", "write it as Add of the negative")],
)
def test_an_operator_that_equals_one_with_a_kernel_is_named(tmp_path, op, words):
    pair = {"s": np.float32(0.05), "z": np.uint8(128), "c": np.float32(3)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node(op, ["d", "c"], ["e"], "by_constant"),
        helper.make_node("QuantizeLinear", ["e", "s", "z"], ["eq"]),
        helper.make_node("DequantizeLinear", ["eq", "s", "z"], ["y"]),
    ]
    found = explain(save(tmp_path / "net.onnx", nodes, pair, (1, 64)), runs=5)
    reasons = {op.executed.op: op.reason for op in found.float_ops}
    assert words in reasons[op]
    nodes[2] = helper.make_node(op, ["d", "d"], ["e"], "by_itself")
    found = explain(save(tmp_path / "net.onnx", nodes, pair, (1, 64)), runs=5)
    assert reasons[op].partition(";")[0] in {op.reason for op in found.float_ops}


def test_weights_that_can_overflow_are_named(found):
    assert found.overflowing == ("layer",)
    assert any("Weights of 'layer' can overflow 16 bits" in said for said in advice(found))
    assert not any("overflow" in said for said in advice(replace(found, overflowing=())))


def test_islands_are_named_with_their_reason(found):
    ops = {op.executed.op: op for op in found.float_ops}
    slow = replace(ops["Erf"].executed, milliseconds=1000.0)
    changed = replace(
        found,
        load=IDLE,
        float_ops=(replace(ops["Erf"], executed=slow),),
        profile=replace(found.profile, executed=(slow,)),
    )
    assert "Float island, 100 % of the time: Erf 'second': ONNX Runtime has no integer kernel" in (
        "\n".join(advice(changed))
    )


def test_conversions_are_named_with_the_longest(found):
    first = next(one for one in found.profile.executed if one.kind == "conversion")
    changed = replace(found, load=IDLE, profile=slowed(found, "conversion"))
    assert f"take 100 % of the time, {first.title!r} the longest" in "\n".join(advice(changed))


def test_channels_that_do_not_fill_the_kernel_are_named(found):
    one = found.profile.executed[0]
    slow = {"kind": "integer", "milliseconds": 1000.0}
    for weight, groups, words in (
        ((24, 16, 3, 3), 1, r"'layer' (16 to 24)"),
        ((32, 1, 3, 3), 32, "one channel a group"),
        ((32, 16, 3, 3), 1, None),
    ):
        layer = replace(one, name="layer", source="", weight=weight, groups=groups, **slow)
        layer = replace(layer, durations=(1000.0,) * 5)
        profile = replace(found.profile, executed=(layer,))
        changed = replace(found, profile=profile, float_ops=(), load=IDLE)
        said = "\n".join([*advice(changed), *remarks(changed)])
        assert (words in said) if words else ("channel" not in said)


def test_a_cpu_without_vnni_says_what_exact_costs(found):
    old = replace(
        found,
        load=IDLE,
        offers=WITHOUT_VNNI,
        variants=(Variant("exact=False", 0.5, Ratio(0.5, 0.4, 0.6)),),
    )
    assert any("lacks VNNI" in said and "exact=False takes 0.50" in said for said in remarks(old))
    for load, high in ((Load(0.5, 0.0), 0.6), (IDLE, 1.1)):
        variants = (Variant("exact=False", 0.5, Ratio(0.5, 0.4, high)),)
        unclear = replace(old, load=load, variants=variants)
        assert any("how much cannot be told: with exact=False" in s for s in remarks(unclear))
    new = replace(found, offers=offers(frozenset({"avx2", "avx_vnni"})))
    assert not any("lacks VNNI" in said for said in remarks(new))


def test_a_float_file_is_told_to_quantize(fp32):
    found = explain(fp32, runs=5)
    assert not found.quantized
    assert advice(found)[0].startswith("The file is float throughout. Quantize it")
    assert "times as fast" in advice(replace(found, load=IDLE))[0]
    assert "times as fast" not in advice(replace(found, load=Load(0.5, 0.0)))[0]
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


def test_a_change_of_layout_at_the_ends_is_no_fault_of_the_network(found):
    first = found.profile.executed[0]
    turned = replace(first, op="Transpose", kind="conversion", weight=None, milliseconds=1000.0)
    turned = replace(turned, durations=(1000.0,) * 5)
    conv = replace(first, op="QLinearConv", kind="integer", weight=(16, 16, 3, 3))
    for executed, says, words in (
        ((turned, conv, conv), remarks, "at the ends of the network"),
        ((conv, turned, conv), advice, "without a channels-last kernel stand between"),
    ):
        changed = replace(found, load=IDLE, profile=replace(found.profile, executed=executed))
        assert words in "\n".join(says(changed))
        assert words not in "\n".join((remarks if says is advice else advice)(changed))
