from __future__ import annotations

import numpy as np
import pytest

from qutils.backends.shared.runtime import RuntimeOptions
from qutils.evaluate.explain import Roofline, measure, profile
from qutils.evaluate.explain.profile import Executed, named
from qutils.evaluate.explain.roofline import _convolution, _product
from tests.unit.evaluate.explain.conftest import SHAPE

ROOF = Roofline(int8_per_s=4e9, float_per_s=1e9, bytes_per_s=((1000, 1e9), (10**6, 1e8)), threads=1)


def layer(kind, multiply_adds, moved):
    return Executed("l", "Conv", kind, 1.0, (), (), (), None, 1, multiply_adds, moved)


@pytest.mark.parametrize(
    ("kind", "multiply_adds", "moved", "milliseconds", "bound"),
    [
        ("integer", 4_000_000, 100, 1.0, "arithmetic"),
        ("float", 4_000_000, 100, 4.0, "arithmetic"),
        ("integer", 4_000, 2_000, 0.002, "memory"),
        ("float", 0, 1_000_000, 10.0, "memory"),
    ],
    ids=["int8", "fp32", "in-cache", "from-memory"],
)
def test_ceiling_by_hand(kind, multiply_adds, moved, milliseconds, bound):
    one = layer(kind, multiply_adds, moved)
    assert ROOF.ceiling_ms(one) == pytest.approx(milliseconds)
    assert ROOF.bound(one) == bound


def test_gain_is_the_ratio_of_the_peaks():
    assert ROOF.gain == 4


@pytest.mark.parametrize("make", [_convolution, _product])
@pytest.mark.parametrize("integer", [True, False], ids=["int8", "fp32"])
def test_the_peak_is_measured_of_the_kind_it_says(make, integer):
    model, shape, multiply_adds = make(integer)
    for node in model.graph.node:
        node.name = node.output[0]
    x = np.ones(shape, np.float32)
    found = profile(model, x, RuntimeOptions(), runs=5)
    working = max(found.executed, key=lambda one: one.multiply_adds)
    assert working.kind == ("integer" if integer else "float")
    assert working.multiply_adds == multiply_adds


def test_a_real_layer_stays_below_the_ceiling(int8):
    roof = measure(RuntimeOptions())
    found = profile(named(int8()), np.ones(SHAPE, np.float32), RuntimeOptions(), runs=20)
    conv = next(one for one in found.executed if one.op == "QLinearConv")
    assert roof.ceiling_ms(conv) < 1.5 * conv.milliseconds  # a busy machine may slow the peak
    assert roof.int8_per_s > 1e9
    assert roof.float_per_s > 1e9
    assert all(rate > 1e8 for _, rate in roof.bytes_per_s)
