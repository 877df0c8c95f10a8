from __future__ import annotations

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from qutils.backends.runtimes import load
from qutils.errors import InvalidInputError
from qutils.evaluate.bench import meters
from qutils.evaluate.bench.energy import energy as measure
from qutils.evaluate.bench.meters import Estimate, NoMeterError, Nvml, Rapl


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """Two packages and a part of one, as Linux shows them."""
    for name, counter in (
        ("intel-rapl:0", 999_999_990),
        ("intel-rapl:1", 5),
        ("intel-rapl:0:0", 7),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{counter}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("999999999\n")
    monkeypatch.setattr(meters, "POWERCAP", tmp_path)
    return tmp_path


def spend(powercap, name, microjoules):
    file = powercap / name / "energy_uj"
    file.write_text(str((int(file.read_text()) + microjoules) % 1_000_000_000))


def test_rapl_adds_packages_and_counts_on_when_a_counter_begins_anew(powercap):
    meter = Rapl.find()
    assert meter.joules() == 0
    spend(powercap, "intel-rapl:0", 30)  # past the end
    spend(powercap, "intel-rapl:1", 4)
    spend(powercap, "intel-rapl:0:0", 500)  # a part of package 0: not counted twice
    assert meter.joules() == pytest.approx(34e-6)
    assert int((powercap / "intel-rapl:0" / "energy_uj").read_text()) == 20
    spend(powercap, "intel-rapl:1", 6)
    assert meter.joules() == pytest.approx(40e-6)


def test_energy_of_a_file_by_the_counter(files, powercap, monkeypatch):
    runtime = load(files.fp32)
    run = type(runtime).run

    def spending(self, batch):
        spend(powercap, "intel-rapl:0", 12)
        return run(self, batch)

    monkeypatch.setattr(type(runtime), "run", spending)
    found = measure(runtime, np.zeros((4, 1, 8, 8), np.float32), seconds=0.01)
    assert found.source == "rapl"
    assert found.measured
    assert found.inferences % 4 == 0
    assert found.joules == pytest.approx(12e-6 / 4)
    assert "mJ an inference, rapl (counter of the whole CPU" in str(found)


def test_a_counter_that_stands_still_is_no_zero(files, powercap):
    found = measure(files.fp32, seconds=0.01)
    assert (found.joules, found.source, found.measured) == (None, "unavailable", False)
    assert "the rapl counter did not move" in str(found)


@pytest.mark.parametrize("amiss", ["missing", "unreadable", "empty"])
def test_without_counter_the_estimate_says_what_it_assumes(files, powercap, monkeypatch, amiss):
    if amiss == "missing":
        monkeypatch.setattr(meters, "POWERCAP", powercap / "absent")
    else:
        file = powercap / "intel-rapl:1" / "energy_uj"
        file.unlink()
        file.mkdir() if amiss == "unreadable" else file.write_text("")
    monkeypatch.setattr(Estimate, "find", lambda: Estimate(40.0, 4, "a CPU"))
    before = time.process_time()
    found = measure(files.fp32, seconds=0.05)
    spent = time.process_time() - before
    assert found.source == "estimated"
    assert not found.measured
    assert 0 < found.joules * found.inferences <= 10 * spent  # 40 W / 4 threads x CPU seconds
    assert "40 W (codecarbon's figure for 'a CPU'" in found.detail
    assert "no measurement" in str(found)


def test_without_anything_the_reasons_are_given(files, powercap, monkeypatch):
    monkeypatch.setattr(meters, "POWERCAP", powercap / "absent")
    monkeypatch.setattr(meters, "find_spec", lambda name: None)
    found = measure(files.fp32, seconds=0.01)
    assert found.source == "unavailable"
    assert found.joules is None
    assert str(found).startswith("energy unavailable: no RAPL counter in ")
    assert "codecarbon, which knows the power of CPUs, is not installed: pip install -e '" in (
        found.detail
    )


def test_power_of_this_cpu():
    pytest.importorskip("codecarbon", reason="an optional package")
    meter = Estimate.find()
    assert meter.watts > 0
    assert meter.cpus == os.cpu_count()
    before = meter.joules()
    sum(range(200_000))
    assert meter.joules() > before


class Library:
    """What ``pynvml`` offers, with a counter of its own [mJ]."""

    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self, driver=True):
        self.driver, self.millijoules = driver, 100

    def nvmlInit(self):  # noqa: N802
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return SimpleNamespace(index=index)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        self.millijoules += 3
        return self.millijoules


def test_the_counter_of_a_gpu(files, monkeypatch):
    library = Library()
    monkeypatch.setattr(meters, "find_spec", lambda name: name)
    monkeypatch.setattr(meters, "import_module", lambda name: library)
    assert Nvml.find().joules() == pytest.approx(0.106)
    found = measure(files.fp32, seconds=0.01, device="gpu")
    assert found.source == "nvml"
    assert found.joules == pytest.approx(3e-3 / found.inferences)
    monkeypatch.setattr(meters, "import_module", lambda name: Library(driver=False))
    with pytest.raises(NoMeterError, match="Driver Not Loaded"):
        Nvml.find()
    assert measure(files.fp32, device="gpu").source == "unavailable"


def test_refused(files):
    with pytest.raises(InvalidInputError, match="over some seconds, not 0"):
        measure(files.fp32, seconds=0)
    with pytest.raises(InvalidInputError, match="unknown device 'tpu': choose from cpu, gpu"):
        measure(files.fp32, device="tpu")
