from __future__ import annotations

from dataclasses import replace

import pytest

from qutils.lab.results.results import Row
from qutils.lab.studies.benchmark import checks, rows


def test_rows_are_valid_and_distinct(measured):
    found = rows(*measured)
    assert [Row.from_json(row.to_json()) for row in found] == found
    keys = {(r.method, r.weight_bits, r.observer, r.execution, r.runtime) for r in found}
    assert len(keys) == len(found)
    assert {r.runtime for r in found} == {"onnxruntime", "onnxruntime_saturating", "torch"}


def test_first_batch_is_the_latency_of_the_row(measured):
    ours = next(r for r in rows(*measured) if r.method == "ptq" and r.runtime == "onnxruntime")
    assert (ours.latency_ms_median, ours.latency_ms_iqr, ours.metrics["batch"]) == (0.5, 0.1, 1)
    assert ours.metrics["latency_ms_median_batch32"] == 16
    assert ours.metrics["latency_over_quantize_static"] == 0.99
    assert ours.metrics["latency_over_quantize_static_batch32"] == 1.10
    assert (ours.top1, ours.top1_n, ours.metrics["agreement_percent"]) == (92.0, 2000, 100.0)
    assert ours.size_bytes == 1400


def test_measured_and_simulated_stay_apart(measured):
    for row in rows(*measured):
        assert (row.execution == "integer") == (row.runtime != "torch" and row.method != "fp32")
        if row.runtime == "torch":
            assert row.latency_ms_median is row.top1 is row.size_bytes is None


def test_checks_and_their_targets(measured):
    found = checks(*measured, "full")
    assert {
        c.name.removeprefix("resnet8: "): (round(c.value, 3), c.target, c.passed) for c in found
    } == {
        "INT8 weights, bytes of FP32's": (0.25, 0.26, True),
        "INT8 file, bytes of the FP32 file": (0.318, 0.36, True),
        "INT8 latency of quantize_static's, batch 1": (1.04, 1.05, True),  # the slower setting
        "INT8 latency of quantize_static's, batch 32": (1.1, 1.05, False),
        "calibration memory, 4,096 pictures of 256": (1.04, 1.05, True),  # the worst observer
        "QAT step of FP32 step": (1.5, 2.0, True),
    }
    assert {c.command for c in found} == {"make bench"}


def test_a_value_just_above_its_target_is_not_rounded_into_passing(measured):
    step = replace(measured.steps[0], ratio=replace(measured.steps[0].ratio, median=2.0004))
    check = checks(measured.files, measured.memory, [step], "full")[-1]
    assert not check.passed


@pytest.mark.parametrize("part", ["exact: 0.990", "default: 1.040"])
def test_the_note_names_both_settings(measured, part):
    assert part in next(c for c in checks(*measured, "full") if c.name.endswith("batch 1")).note


def test_a_trial_is_held_against_bytes_alone(measured):
    trial, full = checks(*measured, "smoke"), checks(*measured, "full")
    assert [(c.name, c.value) for c in trial] == [(c.name, c.value) for c in full]
    assert {c.name for c in trial if c.target is not None} == {
        "resnet8: INT8 weights, bytes of FP32's",
        "resnet8: INT8 file, bytes of the FP32 file",
    }
