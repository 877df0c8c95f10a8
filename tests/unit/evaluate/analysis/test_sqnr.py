import math

import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import DB_PER_BIT, decibels, predicted_sqnr_db, sqnr_db
from qutils.numerics import affine
from qutils.numerics.schemes import Scheme


def test_definition_in_float64():
    x, y = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    expected = 10 * torch.log10(x.double().square().sum() / (x - y).double().square().sum())
    assert sqnr_db(x, y) == pytest.approx(expected.item(), abs=1e-6)


def test_exact_is_infinite_also_for_zeros():
    x = torch.randn(7)
    assert sqnr_db(x, x.clone()) == math.inf
    assert sqnr_db(torch.zeros(3), torch.zeros(3)) == math.inf


def test_zeros_missed_are_minus_infinite():
    assert sqnr_db(torch.zeros(3), torch.ones(3)) == -math.inf
    assert decibels(0.0, 1.0) == -math.inf


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_nan_and_inf_are_refused(bad, side):
    pair = [torch.ones(3), torch.ones(3)]
    pair[side] = torch.tensor([1.0, bad, 1.0])
    with pytest.raises(InvalidInputError, match="NaN or Inf"):
        sqnr_db(*pair)


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((0,), (0,)), ((2, 3), (3, 2))])
def test_shapes_must_agree(shapes):
    with pytest.raises(InvalidInputError, match="cannot be compared"):
        sqnr_db(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])
def test_law_of_a_uniform_source(bits, symmetric):
    x = 2 * torch.rand(200_000) - 1
    q = affine.qparams(torch.tensor(-1.0), torch.tensor(1.0), Scheme(bits, symmetric, symmetric))
    measured = sqnr_db(x, affine.fake_quantize(x, q))
    # Affine: zero is on a level, so that the levels lie up to half a step beside the ends.
    slack = 0.1 if symmetric or bits > 5 else 1.2
    assert measured == pytest.approx(predicted_sqnr_db(bits, symmetric=symmetric), abs=slack)


@pytest.mark.parametrize("bits", range(4, 9))
@pytest.mark.parametrize("clip", [2.5, 4.0])
def test_law_of_a_gaussian_source(bits, clip):
    x = torch.randn(1_000_000)
    q = affine.qparams(torch.tensor(-clip), torch.tensor(clip), Scheme(bits, True, True))
    measured = sqnr_db(x, affine.fake_quantize(x, q))
    expected = predicted_sqnr_db(bits, "gaussian", clip, symmetric=True)
    assert measured == pytest.approx(expected, abs=0.25)


def test_six_decibels_a_bit():
    assert pytest.approx(6.02, abs=0.001) == DB_PER_BIT
    steps = [predicted_sqnr_db(b + 1) - predicted_sqnr_db(b) for b in range(10, 16)]
    assert steps == pytest.approx([DB_PER_BIT] * 6, abs=0.01)


@pytest.mark.parametrize(
    "arguments", [{"bits": 1}, {"bits": 8, "clip": 0.0}, {"bits": 8, "source": "cauchy"}]
)
def test_impossible_questions(arguments):
    with pytest.raises(InvalidInputError):
        predicted_sqnr_db(**arguments)
