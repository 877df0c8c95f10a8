from __future__ import annotations

import subprocess
import sys

import pytest

from qutils.errors import InvalidInputError
from qutils.evaluate.bench import calibration
from qutils.evaluate.bench.process import Outcome


@pytest.fixture
def peaks(monkeypatch):
    """Fresh processes replaced by a table: pictures -> peaks of its processes [MiB]."""
    table = {256: [440.0, 400.0, 410.0], 4096: [420.0, 430.0, 900.0]}
    calls = []

    def call_fresh(function, model, observers, count, environment):
        calls.append((function, model, observers, count))
        peak = table[count].pop(0)
        found = {"": 390.0, **{name: peak + len(name) for name in observers}}
        return Outcome(result=found, imports_mib=10.0, peak_mib=peak)

    monkeypatch.setattr(calibration, "call_fresh", call_fresh)
    monkeypatch.setattr(calibration, "_workers", lambda: 1)
    return calls


def test_least_of_the_processes_and_ratio(peaks):
    mse, entropy = calibration.calibration_memory("resnet8", ["mse", "entropy"], repeats=3)
    assert (mse.few_mib, mse.many_mib, mse.base_mib) == (403, 423, 390)
    assert mse.ratio == 423 / 403
    assert (entropy.observer, entropy.few_mib, entropy.many_mib) == ("entropy", 407, 427)
    assert (mse.pictures, mse.repeats) == ((256, 4096), 3)
    assert [count for *_, count in peaks] == [256, 4096] * 3
    assert peaks[0][1:3] == ("resnet8", ["mse", "entropy"])


@pytest.mark.parametrize(
    ("model", "observers", "repeats", "message"),
    [
        ("resnet9", ["mse"], 1, "did you mean 'resnet8'"),
        ("resnet8", ["mse", "msee"], 1, "did you mean 'mse'"),
        ("resnet8", [], 1, "at least one observer"),
        ("resnet8", ["mse"], 0, "one repeat"),
    ],
)
def test_bad_settings_are_told_before_any_process_starts(peaks, model, observers, repeats, message):
    with pytest.raises(InvalidInputError, match=message):
        calibration.calibration_memory(model, observers, repeats=repeats)
    assert not peaks


def test_what_a_process_does():
    """In this process instead of a fresh one."""
    found = calibration.calibrate_all("resnet8", ["minmax", "mse"], 16)
    assert set(found) == {"", "minmax", "mse"}
    assert min(found["minmax"], found["mse"]) >= found[""] > 40  # MiB: torch, the dataset
    with pytest.raises(InvalidInputError, match=r"holds 1\.\.5000"):
        calibration.calibrate_all("resnet8", ["minmax"], 6000)


#: In a process of its own: allocators of packages that others import keep what they freed.
PEAKS = """
from qutils.evaluate.bench.fresh import high_water_mib, reset_high_water
held = bytearray(b"x") * (64 << 20)
peak = high_water_mib()
del held
print(reset_high_water(), peak, high_water_mib())
"""


@pytest.mark.slow(reason="measures in a fresh process")
def test_the_peak_can_start_anew():
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    could, before, after = done.stdout.split()
    if could == "False":
        pytest.skip("this system cannot reset a process's peak")
    assert float(after) < float(before) - 32
