"""How long the reports take is said before they start, and what is left out of them."""

from __future__ import annotations

import pytest

from qutils.errors import InvalidInputError
from qutils.files import ROOT
from qutils.lab.results import reports
from qutils.lab.runner import forecast
from qutils.lab.runner.pace import Pace
from qutils.lab.studies.study import cost
from tests.unit.lab.runner.toy import write_notebook

REPORTS = [ROOT / "notebooks" / "reports" / f"{name}.ipynb" for name in ("bench", "ptq_vs_qat")]


@pytest.fixture(params=[0.06, 2.0], ids=["fast", "slow"])
def machine(request, monkeypatch):
    pace = Pace(request.param, 2)
    for module in (forecast, cost):
        monkeypatch.setattr(module, "measured_pace", lambda: pace)
    return pace


def test_times_of_all_reports_and_what_a_slow_machine_leaves_out(machine):
    said = forecast.forecast({path: {} for path in REPORTS})
    assert said.startswith("About ")
    assert "bench " in said
    assert "ptq_vs_qat " in said
    assert ("because this machine is slow" in said) == (machine.step_seconds > 1)
    assert "QAT at W3A8, W4A8" in said or machine.step_seconds < 1


def test_nothing_is_left_out_on_request(machine):
    assert "Left out" not in forecast.forecast({REPORTS[1]: {"fit_machine": False}})


@pytest.mark.parametrize("profile", ["smoke", "full"])
def test_other_profiles_are_not_predicted(machine, profile):
    assert forecast.forecast({path: {"profile": profile} for path in REPORTS}) == ""


def test_wrong_parameters_are_refused(machine):
    with pytest.raises(InvalidInputError):
        forecast.forecast({REPORTS[1]: {"models": ["resnet9"]}})


def test_reports_that_are_not_known_start_without_a_trial(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(forecast, "measured_pace", None)
    write_notebook(tmp_path / "toy.ipynb")
    monkeypatch.setenv("QUTILS_REPORTS", str(tmp_path / "reports"))
    assert reports.make_reports({}, folder=tmp_path).exit_code == 0
    assert "About" not in capfd.readouterr().err
