"""What the report says in words, under other parameters than the defaults too."""

import pandas as pd
import pytest

from qutils.lab.studies.study import plan_jobs, sentences

ASKED = {
    "models": ["resnet8"],
    "methods": ["ptq", "qat"],
    "weight_bits": [3],
    "activation_bits": [6],
    "observers": ["mse"],
    "granularities": ["per_channel"],
    "profile": "smoke",
}


def row(method="ptq", bits=(8, 8), top1=92.0, **values):
    """A row of the frame, simulated per channel with mse unless told."""
    return {
        "model": "resnet8", "method": method, "weight_bits": bits[0], "activation_bits": bits[1],
        "observer": "mse", "granularity": "per_channel", "seed": 0, "execution": "simulated",
        "top1": top1, "agreement_percent": None,
    } | values  # fmt: skip


def frame(*rows):
    fp32 = row("fp32", (32, 32), 93.0, observer=None, granularity=None, seed=None)
    return pd.DataFrame([fp32 | {"execution": "float"}, *rows])


def found(*rows, profile="full"):
    return sentences.findings(frame(*rows), "mse", "per_channel", profile, 0).splitlines()


def amount(**changes):
    asked = ASKED | changes
    return sentences.amount(plan_jobs(**asked), asked["profile"])


def test_the_amount_counts_what_is_planned():
    assert amount() == (
        "Profile **smoke**: 3 networks (1 FP32, 1 PTQ, 1 QAT); seed 0; QAT goes once through 256 "
        "training pictures; ranges come from 64 calibration pictures; every network is scored on "
        "256 test pictures."
    )


def test_the_amount_of_a_longer_run():
    said = amount(profile="full", seeds=[4, 4, 7], epochs=0.5)
    assert "5 networks (1 FP32, 2 PTQ, 2 QAT); seeds 4, 7; QAT goes 0.5 times through all" in said
    assert "all 52,000 training pictures" in said
    assert "all 10,000 test pictures" in said


def test_without_qat_no_training_is_told():
    assert "QAT" not in amount(methods=["ptq"])


@pytest.mark.parametrize(
    ("weights", "activations", "ran", "left"),
    [
        ([3], [6], "W3A6.", ""),
        ([3, 3], [6], "W3A6.", ""),
        ([3, 8], [4, 8], "W3A8, W8A8.", "A4 is in no pair: weights of 4 bits were not asked for."),
        ([2], [4, 5, 8], "W2A8.", "A4 and A5 are in no pair: weights of 4 and 5 bits were"),
        ([2, 3, 4, 8], [4, 8], "W2A8, W3A8, W4A4, W4A8, W8A8.", ""),
    ],
    ids=str,
)
def test_pairs_that_run_and_bits_in_none(weights, activations, ran, left):
    said = sentences.pairs(weights, activations)
    assert said.startswith(f"Bits that run: {ran} The rule:")
    assert left in said
    assert ("in no pair" in said) == bool(left)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([row(bits=(3, 6))], "no such pair was run (W3A6)"),
        ([row("qat")], "PTQ was not among the methods"),
        ([row()], "Only one observer"),
    ],
    ids=["bits", "method", "observer"],
)
def test_why_no_observers_are_compared(rows, reason):
    assert reason in sentences.nothing_compared(frame(*rows))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([row(bits=(3, 6), observer="minmax")], "no such pair was run (W3A6)"),
        ([row("qat")], "PTQ was not among the methods"),
        ([row(observer="minmax")], "Only one granularity"),
        (
            [row(), row(granularity="per_tensor", observer="minmax")],
            "Minmax was not among the observers",
        ),
    ],
    ids=["bits", "method", "granularity", "observer"],
)
def test_why_no_cost_of_one_scale_is_told(rows, reason):
    assert reason in sentences.granularity_cost(frame(*rows), 0)


def test_the_cost_of_one_scale_compares_the_same_seed():
    rows = [
        row(observer="minmax", top1=92.0),
        row(observer="minmax", top1=82.0, seed=1),
        row(observer="minmax", top1=91.0, granularity="per_tensor"),
    ]
    assert sentences.granularity_cost(frame(*rows), 0) == (
        "- resnet8, W8A8, minmax: 92.00 % per channel, 91.00 % per tensor."
    )


def test_findings_are_of_the_bits_that_ran():
    assert found(row(bits=(3, 6), top1=70.0), row("qat", (3, 6), 88.0)) == [
        "- resnet8, top-1 of QAT against PTQ: +18.00 points (W3A6)."
    ]


def test_findings_tell_both_ends_and_the_observers():
    rows = [
        row(top1=92.5), row("qat", top1=92.0), row(bits=(4, 4), top1=80.0),
        row("qat", (4, 4), 91.0), row(bits=(4, 4), top1=60.0, observer="minmax"),
        row(top1=92.5, observer="minmax"),
        row(execution="integer", agreement_percent=99.5),
    ]  # fmt: skip
    assert found(*rows) == [
        "- resnet8, top-1 of QAT against PTQ: -0.50 points (W8A8) to +11.00 points (W4A4).",
        "- W4A4, PTQ: between the best and the worst observer lie up to 20.00 points of top-1 "
        "(resnet8, per channel: mse 80.00 %, minmax 60.00 %).",
        "- W8A8, PTQ: every observer has the same top-1.",
        "- INT8 files predict the class that their simulation predicts for at least 99.50 % of "
        "the pictures (1 file).",
    ]


def test_a_single_method_is_held_against_fp32():
    assert found(row(top1=92.0)) == ["- resnet8, top-1 of PTQ against FP32: -1.00 points (W8A8)."]


def test_a_trial_finds_nothing():
    (line,) = found(row(), row("qat"), profile="smoke")
    assert "say nothing about the methods" in line
