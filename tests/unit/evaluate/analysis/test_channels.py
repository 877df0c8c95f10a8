from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from qutils import observe
from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import sqnr_db
from qutils.evaluate.analysis.channels import channels_of, range_spread, weight_qparams
from qutils.numerics import affine
from qutils.numerics.affine import QParams
from qutils.numerics.schemes import GRANULARITIES, Scheme

WEIGHT = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor(
    [1.0, 0.5, 4.0, 0.1, 2.0, 0.01]
).reshape(6, 1, 1, 1)


def scheme(granularity: str, bits: int = 4, group_size: int = 9, observer: str = "mse") -> Scheme:
    size = group_size if granularity == "per_group" else None
    return Scheme(bits, True, True, granularity, size, observer)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_sqnr_of_each_channel_is_that_of_the_channel_alone(granularity):
    q = weight_qparams(WEIGHT, scheme(granularity))
    found = channels_of(WEIGHT, q).sqnr_db
    back = affine.fake_quantize(WEIGHT, q)
    wanted = [sqnr_db(w, y) for w, y in zip(WEIGHT, back, strict=True)]
    assert found.tolist() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("size", [4, 9, 100])
def test_the_scales_are_those_of_calibration(granularity, size):
    layer = nn.Conv2d(4, 6, 3, bias=False)
    layer.weight.data.copy_(WEIGHT)
    kept = observe(nn.Sequential(layer), torch.randn(2, 4, 5, 5))
    site = next(s for s in kept.placement.sites.values() if s.role == "weight")
    wanted = kept.quantizer(site, scheme(granularity, group_size=size)).qparams()
    found = weight_qparams(WEIGHT, scheme(granularity, group_size=size))
    assert torch.equal(found.scale, wanted.scale)
    assert (found.axis, found.group_size) == (wanted.axis, wanted.group_size)


def test_effective_bits_counted_by_hand():
    weight = torch.tensor([[7.0, -7.0, 0.2], [0.9, 1.1, 2.0], [0.1, -0.2, 0.3], [-3.0, 0.0, 4.0]])
    q = QParams(torch.tensor(1.0), torch.tensor(0), -7, 7)
    # Integers -7..7, 0..2 (zero belongs to the range), 0 alone, -3..4: 15, 3, 1 and 8 of them.
    found = channels_of(weight, q).effective_bits
    assert found.tolist() == pytest.approx([math.log2(15), math.log2(3), 0.0, 3.0])


def test_effective_bits_per_group_are_the_mean_of_the_groups():
    weight = torch.tensor([[7.0, -7.0, 0.9, 0.1]])
    q = QParams(torch.tensor([[1.0, 1.0]]), torch.tensor([[0, 0]]), -7, 7, 0, 2)
    assert channels_of(weight, q).effective_bits.tolist() == pytest.approx(
        [(math.log2(15) + 1) / 2]
    )


def test_effective_bits_do_not_depend_on_the_zero_point():
    weight = torch.tensor([[0.0, 1.0, 3.0]])
    q = QParams(torch.tensor(1.0), torch.tensor(4), 0, 7)
    assert channels_of(weight, q).effective_bits.tolist() == [2.0]


def test_one_scale_costs_the_middle_channel_the_logarithm_of_the_spread():
    """Spread 8: 33 integers are left of 255, log2(8) bits less but for the one that is zero."""
    ramp = torch.linspace(-1, 1, 201)
    weight = torch.stack([ramp * r for r in (8.0, 1.0, 1.0)])
    assert range_spread(weight) == 8.0
    bits = {
        g: channels_of(weight, weight_qparams(weight, scheme(g, 8, observer="minmax")))
        for g in ("per_tensor", "per_channel")
    }
    lost = bits["per_channel"].effective_bits[1] - bits["per_tensor"].effective_bits[1]
    assert lost == pytest.approx(math.log2(255 / 33))


def test_a_dead_channel_is_exact():
    weight = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
    found = channels_of(weight, weight_qparams(weight, scheme("per_channel")))
    assert found.sqnr_db[1] == math.inf
    assert found.effective_bits[1] == 0


def test_the_weight_stays_as_it_is():
    before = WEIGHT.clone()
    channels_of(WEIGHT, weight_qparams(WEIGHT, scheme("per_channel")))
    assert torch.equal(WEIGHT, before)


def test_bad_input_is_named():
    with pytest.raises(InvalidInputError, match="all zero"):
        range_spread(torch.tensor([[0.0], [0.0], [1.0]]))
    with pytest.raises(InvalidInputError, match="set signed"):
        weight_qparams(WEIGHT, Scheme(4))
    with pytest.raises(InvalidInputError, match="NaN or Inf"):
        weight_qparams(torch.tensor([[math.nan]]), scheme("per_tensor"))
