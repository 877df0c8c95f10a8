"""Two captures of one network have one identity; whatever changes the network changes it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from qutils.graph import capture
from tests.unit.graph.networks import conv, random_batch_norm

X = torch.zeros(2, 3, 8, 8)


def identity(*layers: nn.Module):
    return capture(nn.Sequential(*layers), X).identity


def base() -> list[nn.Module]:
    return [conv(), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 4)]


def test_values_of_weights_have_no_part_in_it():
    one, other = (identity(*random_batch_norm(nn.Sequential(*base()))) for _ in range(2))
    assert one == other
    assert one.difference(other) == ""


@pytest.mark.parametrize(
    ("at", "layer"),
    [
        (0, conv(dilation=2, padding=2)),
        (0, conv(bias=False)),
        (1, nn.BatchNorm2d(8, eps=0.1)),
        (1, nn.BatchNorm2d(8, affine=False)),
        (2, nn.ReLU6()),
        (2, nn.LeakyReLU(0.1)),
        (3, nn.AvgPool2d(2)),
        (3, nn.MaxPool2d(3, 2, 1)),
        (5, nn.Linear(128, 5)),
    ],
)
def test_every_layer_has_a_part_in_it(at, layer):
    changed = base()
    changed[at] = layer
    assert identity(*base()).difference(identity(*changed))


def test_a_number_in_the_network_has_a_part_in_it():
    slopes = [identity(*base()[:1], nn.LeakyReLU(slope)) for slope in (0.1, 0.2)]
    assert slopes[0].difference(slopes[1]).startswith("the same operators, with other arguments")


def test_the_first_operator_that_differs_is_named():
    changed = [*base()[:2], nn.ReLU6(), *base()[3:]]
    said = identity(*base()).difference(identity(*changed))
    assert said.endswith(" is relu in module '2' there, hardtanh in module '2' here")
    assert identity(*base()).difference(identity(*base()[:5])).endswith("there, none here")
