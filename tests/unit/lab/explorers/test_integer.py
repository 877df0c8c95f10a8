"""The integer explorer: the ledger of one output, worked out on paper."""

from __future__ import annotations

import pytest
import torch

from qutils import integer
from qutils.errors import InvalidInputError
from qutils.lab.explorers.integer import OUTPUTS, IntegerExplorer
from qutils.numerics.schemes import MAX_BITS, MIN_BITS
from tests.unit.evaluate.analysis.test_by_hand import BIAS, W, X
from tests.unit.lab.explorers.toy import numbers


@pytest.fixture(scope="module")
def on_paper() -> IntegerExplorer:
    """Four bits give exactly the integers of the worked example; see its tests."""
    return IntegerExplorer((X - 2) * 0.5, W * 0.25, BIAS)


@pytest.fixture(scope="module")
def shipped() -> IntegerExplorer:
    return IntegerExplorer()


def test_the_ledger_on_paper(on_paper):
    found = numbers(on_paper, weight_bits=4, activation_bits=4, row=2, column=1)
    assert (found["sum"], found["correction"], found["bias"]) == (-10, -10, 3)
    assert found["acc"] == -17
    assert found["exact"] == -17 / 8


def test_each_step_follows_from_the_one_before(on_paper):
    view = on_paper.view(row=2, column=1)
    numbers = [result.replace("−", "-") for _, result in view.data.steps]
    assert numbers[:4] == ["-10", "-10", "3", "-17"]
    m = float(on_paper.conv().multiplier)
    assert float(numbers[4]) == pytest.approx(-17 * m, abs=5e-4)
    assert int(numbers[5]) == round(-17 * m)
    zero_point = int(on_paper.conv().qy.zero_point)
    assert int(numbers[6]) == view.numbers["y"] == max(0, round(-17 * m) + zero_point)


def test_symmetric_activations_need_no_correction(shipped):
    assert numbers(shipped, mapping="affine", activation_bits=8)["correction"] != 0
    for row in range(5):
        assert numbers(shipped, mapping="symmetric", row=row)["correction"] == 0


def test_a_narrow_output_range_saturates(shipped):
    shares = [numbers(shipped, output=o)["saturated"] for o in list(OUTPUTS)[:3]]
    assert shares == sorted(shares)
    assert shares[2] > 5


def test_from_zero_up_is_a_relu(shipped):
    """Affine grids that start at zero saturate where ReLU cuts."""
    conv = shipped.conv(output="from zero up", weight_bits=8, activation_bits=8)
    assert (conv.dequantized[conv.acc < 0] == 0).all()
    assert conv.acc.min() < 0
    relu = torch.relu(conv.exact)
    assert (conv.dequantized - relu).abs().max() < 0.03 * relu.max()


@pytest.mark.parametrize("bits", [2, 8])
def test_the_output_is_that_of_the_primitives(shipped, bits):
    conv = shipped.conv(weight_bits=bits, activation_bits=bits)
    acc = integer.conv_accumulate(
        conv.x[None, None], int(conv.qx.zero_point), conv.w[None, None],
        torch.tensor([conv.bias]), padding=1,
    )  # fmt: skip
    y = integer.requantize(
        acc, conv.multiplier, int(conv.qy.zero_point), conv.qy.qmin, conv.qy.qmax
    )
    for row in range(5):
        for column in range(5):
            setting = {"weight_bits": bits, "activation_bits": bits, "row": row, "column": column}
            found = numbers(shipped, **setting)
            assert found["acc"] == acc[0, 0, row, column]
            assert found["y"] == y[0, 0, row, column]


def test_the_note_does_not_call_an_affine_input_symmetric():
    bright = IntegerExplorer(torch.rand(5, 5), torch.randn(3, 3))
    affine, symmetric = (
        bright.view(mapping=mapping, weight_bits=8, activation_bits=8)
        for mapping in ("affine", "symmetric")
    )
    assert affine.numbers["correction"] == symmetric.numbers["correction"] == 0
    assert affine.note.startswith("An input without negatives has zero point 0")
    assert symmetric.note.startswith("Symmetric activations have zero point 0")


def test_more_bits_come_closer(shipped):
    db = [numbers(shipped, weight_bits=b, activation_bits=b)["sqnr_db"] for b in (2, 4, 8)]
    assert db == sorted(db)
    assert db[2] > 35


def test_choices(shipped):
    options = {control.name: control.options for control in shipped.controls}
    assert (
        options["weight_bits"] == options["activation_bits"] == tuple(range(MIN_BITS, MAX_BITS + 1))
    )
    assert options["row"] == options["column"] == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("x", "w"), [(torch.zeros(4, 4), torch.zeros(3, 3)), (torch.zeros(5, 5), None)]
)
def test_other_shapes_are_refused(x, w):
    with pytest.raises(InvalidInputError, match=r"\[5, 5\] and a filter \[3, 3\]"):
        IntegerExplorer(x, w)
