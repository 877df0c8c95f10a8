from __future__ import annotations

import pytest

from qutils.errors import QutilsError
from qutils.evaluate.bench.process import TRAINING_ENVIRONMENT, call_fresh

MODULE = "helper_of_process_test"


@pytest.fixture(autouse=True)
def helper(tmp_path, monkeypatch):
    """A module of functions that a fresh process can import."""
    (tmp_path / f"{MODULE}.py").write_text(
        "import os\n"
        "def double(x, times=2): return {'got': [times * x]}\n"
        "def variable(name): return os.environ.get(name)\n"
        "def opaque(): return object()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_result_and_peak_come_back():
    outcome = call_fresh(f"{MODULE}:double", 21, times=3)
    assert outcome.result == {"got": [63]}
    assert outcome.peak_mib >= outcome.imports_mib > 0


@pytest.mark.parametrize("name", list(TRAINING_ENVIRONMENT))
def test_environment_is_added_to_the_own(monkeypatch, name):
    monkeypatch.setenv("QUTILS_TEST", "kept")
    given = {"environment": TRAINING_ENVIRONMENT}
    assert call_fresh(f"{MODULE}:variable", name, **given).result == TRAINING_ENVIRONMENT[name]
    assert call_fresh(f"{MODULE}:variable", "QUTILS_TEST", **given).result == "kept"


def test_a_result_that_is_no_json_is_told():
    with pytest.raises(QutilsError, match="not JSON serializable"):
        call_fresh(f"{MODULE}:opaque")
