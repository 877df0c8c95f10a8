from __future__ import annotations

import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import sqnr_db
from qutils.evaluate.analysis.clipping import clipping_sweep
from qutils.numerics import affine
from qutils.numerics.observers import rows_of
from qutils.numerics.schemes import Scheme

SCHEMES = {
    "affine": Scheme(4, signed=False, symmetric=False),
    "symmetric": Scheme(3, signed=True, symmetric=True),
    "8-bit": Scheme(8, signed=False, symmetric=False),
}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_each_range_pays_what_quantizing_in_it_costs(scheme):
    x = torch.randn(3000).relu() - 0.2
    sweep = clipping_sweep(rows_of(x), scheme, [0.3, 0.7, 1.0])
    for k, fraction in enumerate([0.3, 0.7, 1.0]):
        q = affine.qparams(fraction * x.min(), fraction * x.max(), scheme)
        error = (affine.fake_quantize(x, q) - x).double().square()
        low, high = (q.scale * (end - q.zero_point) for end in (q.qmin - 0.5, q.qmax + 0.5))
        outside = (x < low) | (x > high)
        assert sweep.rounding[k] == pytest.approx(float(error[~outside].sum() / len(x)), rel=1e-5)
        assert sweep.clipping[k] == pytest.approx(float(error[outside].sum() / len(x)), rel=1e-5)
        assert sweep.splits[k].clipped_share == float(outside.double().mean())
        assert sweep.sqnr_db[k] == pytest.approx(sqnr_db(x, affine.fake_quantize(x, q)), abs=1e-4)


def test_fewer_bits_have_their_best_range_further_in():
    rows = rows_of(torch.randn(20_000))
    fractions = [f / 100 for f in range(10, 101, 5)]
    best = [
        clipping_sweep(rows, Scheme(b, signed=True, symmetric=True), fractions).best
        for b in (2, 4, 8)
    ]
    assert best == sorted(best)
    assert best[0] < best[-1]


@pytest.mark.parametrize("fractions", [[], [0.0], [1.2]])
def test_fractions_outside_0_to_1_are_refused(fractions):
    with pytest.raises(InvalidInputError, match=r"fractions of a range lie in \(0, 1\]"):
        clipping_sweep(rows_of(torch.randn(9)), SCHEMES["affine"], fractions)


def test_only_one_row_is_swept():
    with pytest.raises(InvalidInputError, match="one row"):
        clipping_sweep(rows_of(torch.randn(2, 9), axis=0), SCHEMES["affine"], [1.0])
