"""Headline figures from rows: which settings, against what, and how they ran."""

import pandas as pd
import pytest

from qutils.lab.results.headlines import LOSSES
from qutils.lab.studies.study.checks import checks_of

WIDE = {"size_bytes": 300_000}


def row(method="ptq", bits=(8, 8), top1=92.0, **values):
    """A row of the frame, simulated per channel with the main observer unless told."""
    plain = {
        "model": "resnet8", "method": method, "weight_bits": bits[0], "activation_bits": bits[1],
        "observer": "mse", "granularity": "per_channel", "seed": 0, "execution": "simulated",
        "top1": top1, "top1_n": 10_000, "size_bytes": None, "agreement_percent": None,
    }  # fmt: skip
    return plain | values


def fp32(top1=93.0):
    return row("fp32", (32, 32), top1, observer=None, granularity=None, seed=None,
               execution="float", **WIDE)  # fmt: skip


def int8(top1, **values):
    return row(top1=top1, execution="integer", size_bytes=90_000,
               **{"agreement_percent": 99.95, **values})  # fmt: skip


def found(*rows, profile="full"):
    checks = checks_of(pd.DataFrame([fp32(), *rows]), "mse", profile)
    return {check.name.removeprefix("resnet8: "): check for check in checks}


def test_every_setting_that_ran_is_shown_and_no_other():
    rows = [
        row(s.method, s.bits, granularity=s.granularity, observer=s.observer or "mse",
            execution=s.execution, size_bytes=90_000, agreement_percent=100.0)
        for s in LOSSES
    ]  # fmt: skip
    lost = {name for name, check in found(*rows).items() if check.unit == "points lost"}
    assert lost == {s.label for s in LOSSES}
    assert set(found()) == {"FP32 top-1"}


def test_loss_is_the_mean_over_seeds_below_fp32():
    rows = [row("qat", (4, 4), top1, seed=seed) for seed, top1 in enumerate((92.0, 92.3, 92.6))]
    check = found(*rows)["W4A4 QAT"]
    assert (check.value, check.target, check.passed) == (pytest.approx(0.7), 1.0, True)
    assert check.note == "top-1 92.30 %, mean of 3 seeds (92.00 to 92.60)"
    assert check.execution == "simulated"


def test_what_is_shown_whatever_it_costs_has_no_target():
    check = found(int8(60.0, granularity="per_tensor", observer="minmax"))[
        "W8A8 PTQ, per tensor minmax"
    ]
    assert (check.value, check.target, check.passed) == (33.0, None, None)
    assert check.note == "top-1 60.00 %"
    assert check.execution == "integer"


def test_simulation_of_an_exported_setting_is_not_mixed_in():
    check = found(int8(92.9), row(top1=50.0))["W8A8 PTQ, per channel"]
    assert check.value == pytest.approx(0.1)


def test_integer_files_agree_at_their_worst_and_are_compared_in_size():
    checks = found(int8(92.9), int8(92.9, method="qat", agreement_percent=99.8))
    agreement = checks["same prediction, simulation and INT8 file"]
    assert (agreement.value, agreement.passed) == (99.8, False)
    assert agreement.note == "the worst of 2 files"
    assert checks["INT8 file of FP32 file"].value == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("profile", "command"),
    [("default", "make report"), ("full", "make report PROFILE=full")],
)
def test_every_figure_names_the_command_that_regenerates_it(profile, command):
    assert {check.command for check in found(int8(92.9), profile=profile).values()} == {command}


def test_a_trial_is_held_against_the_size_of_its_file_alone():
    rows = (int8(80.0, agreement_percent=50.0), row("qat", (4, 4), 10.0))
    trial, full = found(*rows, profile="smoke"), found(*rows)
    assert {name for name, check in trial.items() if check.target is not None} == {
        "INT8 file of FP32 file"
    }
    assert [c.value for c in trial.values()] == [c.value for c in full.values()]
    assert sum(check.passed is False for check in full.values()) == 3


def test_a_run_that_leaves_something_out_is_judged_by_size_alone():
    frame = pd.DataFrame([fp32(), int8(92.9)])
    whole, short = (checks_of(frame, "mse", "default", shortened) for shortened in (False, True))
    assert [check.value for check in whole] == [check.value for check in short]
    assert any(check.target is not None and check.execution != "measured" for check in whole)
    assert all(check.target is None or check.execution == "measured" for check in short)


def test_accuracies_on_part_of_the_test_images_are_shown_and_not_judged():
    frame = pd.DataFrame([fp32(92.4), int8(91.0)])
    whole, part = (checks_of(frame.assign(top1_n=n), "mse", "default") for n in (10_000, 4_000))
    assert [check.value for check in whole] == [check.value for check in part]
    assert [check.passed for check in whole] == [False, False, True, True]
    assert [check.passed for check in part] == [None, None, True, True]
