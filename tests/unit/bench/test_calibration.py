from __future__ import annotations

import pytest

from qutils.bench import calibration
from qutils.bench.fresh import high_water_mib
from qutils.bench.process import Outcome
from qutils.errors import InvalidInputError


@pytest.fixture
def peaks(monkeypatch):
    """Fresh processes replaced by a table: pictures -> peaks of its processes [MiB]."""
    table = {256: [440.0, 400.0, 410.0], 4096: [420.0, 430.0, 900.0]}
    calls = []

    def call_fresh(function, model, observer, count, environment):
        calls.append((function, model, observer, count))
        return Outcome(result=390.0, imports_mib=10.0, peak_mib=table[count].pop(0))

    monkeypatch.setattr(calibration, "call_fresh", call_fresh)
    monkeypatch.setattr(calibration, "_workers", lambda: 1)
    return calls


def test_median_over_processes_and_ratio(peaks):
    found = calibration.calibration_memory("resnet8", "mse", repeats=3)
    assert (found.few_mib, found.many_mib, found.base_mib) == (410, 430, 390)
    assert found.ratio == 430 / 410
    assert (found.pictures, found.repeats) == ((256, 4096), 3)
    assert [count for *_, count in peaks] == [256, 4096] * 3
    assert {call[1:3] for call in peaks} == {("resnet8", "mse")}


@pytest.mark.parametrize(
    ("model", "observer", "message"),
    [("resnet9", "mse", "did you mean 'resnet8'"), ("resnet8", "msee", "did you mean 'mse'")],
)
def test_unknown_names_are_told_before_any_process_starts(peaks, model, observer, message):
    with pytest.raises(InvalidInputError, match=message):
        calibration.calibration_memory(model, observer)
    assert not peaks


def test_what_a_process_does():
    """In this process instead of a fresh one: the peak before calibration comes back."""
    before = high_water_mib()
    assert before <= calibration.calibrate_once("resnet8", "minmax", 16) <= high_water_mib()
    with pytest.raises(InvalidInputError, match="holds 1..5000"):
        calibration.calibrate_once("resnet8", "minmax", 6000)
