"""One part rounded at a time, and one scale for a whole output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from qutils.detection import PARTS, OneScale, part_of, rounded_only
from qutils.errors import InvalidInputError
from qutils.numerics.schemes import Recipe, Scheme
from tests.unit.detection.tiny import observed, pictures, tiny_detector


@pytest.fixture(scope="module")
def sim():
    return observed().simulate(Recipe(weights=Scheme(bits=4, granularity="per_channel")))


@pytest.mark.parametrize(
    ("layer", "part"),
    [
        ("input", "backbone and neck"),
        ("layers.4.cv1.conv.weight", "backbone and neck"),
        ("box.0.2", "box branch"),
        ("cls.2.1.0.conv", "class branch"),
    ],
)
def test_a_layers_name_says_its_part(layer, part):
    assert part_of(layer) == part


def test_every_quantizer_has_a_part_and_every_part_some(sim):
    assert {part_of(name) for name in sim.quantizers} == set(PARTS)


@torch.no_grad()
@pytest.mark.parametrize("part", PARTS)
def test_one_part_rounds_and_the_others_pass(sim, part):
    alone = rounded_only(sim, [part])
    for name, quantizer in alone.quantizers.items():
        x = torch.full((quantizer.scale.numel(), 8, 3, 3), 0.1234567)
        passes = torch.equal(quantizer(x), x)
        assert passes == (part_of(name) != part), name
        assert not torch.equal(sim.quantizers[name](x), x)  # the original is as it was


@torch.no_grad()
def test_no_part_rounded_is_the_float_network_and_all_are_the_simulation(sim):
    x = pictures(4)
    exact = tiny_detector()(x)
    torch.testing.assert_close(rounded_only(sim, [])(x), exact, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(rounded_only(sim, PARTS)(x), sim(x))
    assert (sim(x) - exact).abs().max() > 0.1


@torch.no_grad()
def test_a_branch_harms_its_own_outputs_alone(sim):
    x = pictures(4)
    exact = tiny_detector()(x)
    boxes = (rounded_only(sim, ["box branch"])(x) - exact).abs()
    classes = (rounded_only(sim, ["class branch"])(x) - exact).abs()
    # all biases are rounded, to steps that are a hundredth of the weights' and finer
    assert boxes[:, :4].max() > 0.1
    assert boxes[:, 4:].max() < 1e-3
    assert classes[:, 4:].max() > 1e-2
    assert classes[:, :4].max() < 1e-2


def test_an_unknown_part_is_refused(sim):
    with pytest.raises(InvalidInputError, match="did you mean 'box branch'"):
        rounded_only(sim, ["box branches"])


# One scale ----------------------------------------------------------------------------------------


class Given(nn.Module):
    """Boxes over the whole picture, probabilities from 0 to 1, whatever is asked."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def forward(self, x):
        return self.found


def test_one_scale_is_about_a_255th_of_the_side():
    generator = torch.Generator().manual_seed(0)
    found = torch.rand(2, 6, 50, generator=generator)
    found[:, :4] *= 640
    found[0, 4, :2] = torch.tensor([0.0, 1.0])
    rounded = OneScale(Given(found), torch.zeros(1), 640)
    assert float(rounded.q.scale) == pytest.approx(1 / 255, rel=0.01)
    error = (rounded(torch.zeros(1)) - found).abs()
    half = float(rounded.q.scale) / 2
    assert 0.9 * half < float(error[:, 4:].max()) <= 1.001 * half
    assert 0.9 * half * 640 < float(error[:, :4].max()) <= 1.001 * half * 640  # 1.25 pixels


@torch.no_grad()
def test_values_beyond_what_was_seen_are_clipped():
    seen = torch.rand(1, 6, 20)
    rounded = OneScale(Given(seen), torch.zeros(1), 1)
    rounded.detector = Given(seen * 3)
    assert float(rounded(torch.zeros(1)).max()) <= 1.01
