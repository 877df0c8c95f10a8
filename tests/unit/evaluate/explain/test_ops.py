from __future__ import annotations

import re

import numpy as np
import pytest

from qutils.backends.shared.runtime import RuntimeOptions
from qutils.evaluate.explain import float_ops, profile
from qutils.evaluate.explain.profile import named
from tests.unit.evaluate.explain.conftest import LACKS, SHAPE

X = np.ones(SHAPE, np.float32)


def reasons(path):
    model = named(path)
    return {
        op.executed.title: op.reason
        for op in float_ops(model, profile(model, X, RuntimeOptions(), runs=5))
    }


@pytest.mark.parametrize("lack", [lack for lack, reason in LACKS.items() if reason])
def test_what_is_missing_is_named(int8, lack):
    found = reasons(int8(lack))
    assert re.search(LACKS[lack], found["layer"])


@pytest.mark.parametrize("lack", [lack for lack, reason in LACKS.items() if not reason])
def test_nothing_stays_in_float_where_nothing_is_missing(int8, lack):
    assert reasons(int8(lack)) == {}


def test_operators_without_kernel_are_named(int8):
    found = reasons(int8("two-readers"))
    assert found["second"] == "ONNX Runtime has no integer kernel for Erf on the CPU"
    assert found["sum"] == "its input comes from Erf 'second' without QuantizeLinear"


def test_a_float_file_is_called_one(fp32):
    assert set(reasons(fp32).values()) == {"the file holds no QuantizeLinear: it is a float model"}
