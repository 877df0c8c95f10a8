"""The list of faults stays applicable; the faults themselves are run by ``tools/mutations.py``."""

from __future__ import annotations

import re

import pytest

from tools import mutations
from tools.mutations import Fault, NoVerdictError, Run, applied

FAULTS = mutations.faults()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.file)
def test_a_fault_can_be_applied_and_its_tests_exist(fault, root):
    text = (root / fault.file).read_text(encoding="utf-8")
    assert text.count(fault.old) == 1
    assert fault.new != fault.old
    compile(text.replace(fault.old, fault.new), fault.file, "exec")
    assert fault.tests
    for test in fault.tests:
        path, _, name = test.partition("::")
        function = re.escape(name.split("[")[0])
        assert re.search(rf"^def {function}", (root / path).read_text(encoding="utf-8"), re.M)
    assert fault.why.endswith(".")


def test_there_are_twenty_different_faults():
    assert len({(fault.file, fault.old) for fault in FAULTS}) == len(FAULTS) == 20


def test_the_file_is_restored_also_after_an_error(tmp_path):
    (tmp_path / "m.py").write_text("x = 1 < 2\n")
    fault = Fault("m.py", "<", "<=", ("tests",), "why")
    with pytest.raises(ZeroDivisionError), applied(fault, tmp_path):
        assert (tmp_path / "m.py").read_text() == "x = 1 <= 2\n"
        raise ZeroDivisionError
    assert (tmp_path / "m.py").read_text() == "x = 1 < 2\n"


@pytest.mark.parametrize("text", ["x = 1\n", "x = 1 < 2 < 3\n"])
def test_a_text_that_does_not_occur_once_is_refused(text, tmp_path):
    (tmp_path / "m.py").write_text(text)
    fault = Fault("m.py", "<", "<=", ("tests",), "why")
    with pytest.raises(NoVerdictError, match="once in m.py"), applied(fault, tmp_path):
        pass
    assert (tmp_path / "m.py").read_text() == text


def test_the_first_failing_test_is_read_from_the_summary():
    output = "F\nFAILED tests/test_a.py::test_b[1-x] - assert 1 == 2\n1 failed in 0.1s\n"
    assert Run(1, output, 0.1).failed == "tests/test_a.py::test_b[1-x]"
    assert Run(0, "1 passed in 0.1s\n", 0.1).failed == ""
