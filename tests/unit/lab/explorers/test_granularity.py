"""The granularity explorer: numbers worked out by hand, and those of torch."""

from __future__ import annotations

import math

import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.lab.explorers.granularity import GROUP_SIZES, GranularityExplorer
from qutils.numerics.observers import OBSERVERS
from qutils.numerics.schemes import GRANULARITIES, MAX_BITS, MIN_BITS
from tests.unit.lab.explorers.toy import numbers

BY_HAND = torch.tensor([[7.0, -7.0, 1.0, 0.0], [1.75, -1.75, 0.25, 0.0]])


@pytest.fixture(scope="module")
def by_hand() -> GranularityExplorer:
    return GranularityExplorer({"by hand": BY_HAND})


@pytest.fixture(scope="module")
def shipped() -> GranularityExplorer:
    return GranularityExplorer()


def test_one_scale_for_both_channels_by_hand(by_hand):
    """Step 1. Channel 0 is exact; channel 1 becomes 2, -2, 0, 0: three errors of a quarter."""
    found = numbers(by_hand, granularity="per_tensor", bits=4, observer="minmax")
    noise, signals = 3 / 16, (99.0, 6.1875)
    assert found["sqnr_db"] == pytest.approx(10 * math.log10(sum(signals) / noise))
    assert found["worst_db"] == pytest.approx(10 * math.log10(signals[1] / noise))
    # 15 integers for channel 0, -2..2 for channel 1; the middle of two lies between them.
    assert found["effective_bits"] == pytest.approx((math.log2(15) + math.log2(5)) / 2)
    assert found["vanished"] == 0
    assert found["spread"] == pytest.approx(7 / ((7 + 1.75) / 2))
    assert (found["scales"], found["scale_bytes"]) == (1, 4)
    assert found["scale_share"] == pytest.approx(100 * 4 / 4)  # eight weights of half a byte


def test_a_scale_for_each_channel_by_hand(by_hand):
    """Steps 1 and 1/4: all weights lie on their grid."""
    found = numbers(by_hand, granularity="per_channel", bits=4)
    assert found["sqnr_db"] == found["worst_db"] == math.inf
    assert found["effective_bits"] == pytest.approx(math.log2(15))
    assert (found["scales"], found["scale_bytes"]) == (2, 8)


def test_two_bits_make_the_narrow_channel_vanish(by_hand):
    """Step 7: 1.75 / 7 rounds to 0."""
    found = numbers(by_hand, granularity="per_tensor", bits=2)
    assert found["vanished"] == 1
    assert found["worst_db"] == 0.0  # the error is the signal


def test_groups_that_do_not_fit_shrink_and_say_so(by_hand):
    view = by_hand.view(granularity="per_group", group_size=16)
    assert "groups of 4, the largest" in view.note
    assert view.numbers["scales"] == 2
    assert view.table[3][0] == "per group of 4"


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("layer", range(3))
def test_sqnr_is_that_of_torch(shipped, layer, bits):
    name = shipped.controls[0].options[layer]
    weight = shipped.weights[name]
    qmax = 2 ** (bits - 1) - 1
    peak = weight.abs().flatten(1).amax(dim=1)
    per_channel = torch.fake_quantize_per_channel_affine(
        weight, peak / qmax, torch.zeros(len(weight)), 0, -qmax, qmax
    )
    per_tensor = torch.fake_quantize_per_tensor_affine(
        weight, float(peak.max()) / qmax, 0, -qmax, qmax
    )
    for granularity, back in (("per_channel", per_channel), ("per_tensor", per_tensor)):
        noise = (weight - back).double().square().sum()
        wanted = float(10 * torch.log10(weight.double().square().sum() / noise))
        found = numbers(shipped, layer=name, granularity=granularity, bits=bits)
        # A weight half a step from two levels may go either way: torch multiplies by 1 / scale.
        assert found["sqnr_db"] == pytest.approx(wanted, abs=0.01)


def test_finer_granularity_is_better_on_every_layer(shipped):
    for layer in shipped.controls[0].options:
        db = [numbers(shipped, layer=layer, granularity=g)["sqnr_db"] for g in GRANULARITIES]
        assert db == sorted(db)


def test_depthwise_ranges_scatter_most(shipped):
    spread = [numbers(shipped, layer=name)["spread"] for name in shipped.controls[0].options]
    assert max(spread) == spread[0]


def test_the_table_compares_all_granularities(shipped):
    view = shipped.view(granularity="per_channel")
    assert [row[0].split(" of")[0] for row in view.table[1:]] == [
        name.replace("_", " ") for name in GRANULARITIES
    ]
    chosen = view.table[2]
    assert chosen[1:4] == (
        f"{view.numbers['sqnr_db']:.2f}",
        f"{view.numbers['worst_db']:.2f}",
        str(view.numbers["scales"]),
    )
    assert all("estimated" in title for title in view.table[0][4:])


def test_choices_are_those_of_the_registries(shipped):
    options = {control.name: control.options for control in shipped.controls}
    assert options["granularity"] == GRANULARITIES
    assert options["observer"] == tuple(OBSERVERS)
    assert options["bits"] == tuple(range(MIN_BITS, MAX_BITS + 1))
    assert options["group_size"] == GROUP_SIZES


@pytest.mark.parametrize("weights", [{}, {"bias": torch.ones(3)}], ids=["none", "a-vector"])
def test_what_is_no_weight_is_refused(weights):
    with pytest.raises(InvalidInputError, match="two axes or more"):
        GranularityExplorer(weights)
