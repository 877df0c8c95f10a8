from __future__ import annotations

import numpy as np
import pytest

from qutils.errors import InvalidInputError, QutilsError
from qutils.evaluate.bench.fresh import high_water_mib
from qutils.evaluate.bench.memory import peak_of, peak_of_inference

MODULE = "helper_of_memory_test"


@pytest.fixture(autouse=True)
def helper(tmp_path, monkeypatch):
    """A module of functions that a fresh process can import."""
    (tmp_path / f"{MODULE}.py").write_text(
        "import os, sys\n"
        "def take(mib, junk=False):\n"
        "    if junk: print('noise on stdout')\n"
        "    return len(bytearray(b'x') * (mib << 20))\n"
        "def fail(): raise ValueError('out of cheese')\n"
        "def die(): os._exit(7)\n"
        "def sleep():\n"
        "    import time; time.sleep(60)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_peak_grows_by_what_the_call_takes():
    small, large = (peak_of(f"{MODULE}:take", mib) for mib in (8, 72))
    assert large.mib - small.mib == pytest.approx(64, abs=4)
    assert large.call_mib == pytest.approx(72, abs=4)


def test_memory_of_the_parent_does_not_count():
    held = np.ones(40 << 20, np.uint8)  # 40 MiB touched here
    assert high_water_mib() > 40
    assert peak_of(f"{MODULE}:take", 1).mib < high_water_mib() - 20
    del held


def test_the_functions_own_output_is_no_report():
    assert peak_of(f"{MODULE}:take", 16, junk=True).call_mib == pytest.approx(16, abs=4)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fail", r"exit 1\): ValueError: out of cheese"),
        ("die", r"exit 7\): no message"),
        ("absent", "AttributeError"),
    ],
)
def test_failure_is_told(function, message):
    with pytest.raises(QutilsError, match=message):
        peak_of(f"{MODULE}:{function}")


def test_timeout():
    with pytest.raises(QutilsError, match=r"ran past 0\.5 s"):
        peak_of(f"{MODULE}:sleep", timeout=0.5)


@pytest.mark.parametrize("name", ["no_colon", ":take", "module:"])
def test_name_must_be_module_and_function(name):
    with pytest.raises(InvalidInputError, match="module:function"):
        peak_of(name)


def test_arguments_must_be_json():
    with pytest.raises(InvalidInputError, match="not JSON"):
        peak_of(f"{MODULE}:take", object())


@pytest.mark.slow(reason="measures in fresh processes")
def test_inference_peaks_above_its_imports(files):
    peak = peak_of_inference(files.int8, batch=2)
    assert peak.mib > peak.imports_mib > 1
    assert peak_of_inference(files.int8, batch=8192).mib > peak.mib + 10  # 2 MiB in, 64 MiB inside


def test_inference_of_a_missing_file(tmp_path):
    with pytest.raises(QutilsError, match=r"absent\.onnx is missing"):
        peak_of_inference(tmp_path / "absent.onnx")
