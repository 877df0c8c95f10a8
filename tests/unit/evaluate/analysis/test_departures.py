"""The rule by which a runtime rounds is found by its integers alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from qutils.backends.shared.runtime import Inner
from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.departures import REFERENCE, departures
from qutils.evaluate.analysis.parity import Simulation
from qutils.integer import RULES, IntegerReference
from qutils.numerics.exact.values import Accumulator
from qutils.quantize.calibration import calibrate


@pytest.fixture(scope="module")
def reference() -> IntegerReference:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return IntegerReference(calibrate(model, pictures(32)))


def pictures(n: int) -> torch.Tensor:
    return torch.randn(n, 2, 20, 20, generator=torch.Generator().manual_seed(1))


class Ruled:
    """Computes as the reference does, but for how layers with weights are rounded."""

    def __init__(self, reference: IntegerReference, rule, off: int = 0) -> None:
        self.reference, self.rule, self.off = reference, rule, off

    def run(self, batch):
        raise AssertionError("only inner tensors are wanted")

    def inner(self, batch):
        given: dict[str, torch.Tensor] = {}

        def rounded(node, value, grid):
            if isinstance(value, Accumulator):
                given[node] = self.rule(value, grid) + self.off

        found = self.reference.integers(torch.from_numpy(batch), given, rounded)
        return tuple(
            Inner(given.get(n, v.integers).numpy(), float(v.grid.scale), int(v.grid.zero_point))
            for n, v in found.items()
        )


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_recognized(name, reference):
    x = pictures(200)
    found = departures(reference, Ruled(reference, RULES[name]), x.split(50))
    assert [d.layer for d in found] == ["0", "2"]
    assert all(d.equal[name] == d.values == 200 * 8 * side**2
               for d, side in zip(found, (18, 16), strict=True))  # fmt: skip
    assert all(d.explained and d.unlike == 0 for d in found)
    if name == REFERENCE:
        assert all(d.best == name and d.from_tie is None for d in found)


def test_rules_differ_only_next_to_ties(reference):
    twice = "31-bit multiplier, rounded twice"
    found = departures(reference, Ruled(reference, RULES[twice]), [pictures(200)])
    assert any(d.equal[REFERENCE] < d.values for d in found)
    assert all(d.from_tie is None or d.from_tie < 0.01 for d in found)


def test_what_is_no_rule_is_said(reference):
    wrong = departures(reference, Ruled(reference, RULES[REFERENCE], off=1), [pictures(10)])
    assert not any(d.explained for d in wrong)
    assert all(d.unlike > 0.9 * d.values for d in wrong)
    assert all(d.from_tie > 0.4 for d in wrong)


def test_what_cannot_be_seen_is_refused(reference):
    class Closed(Ruled):
        def inner(self, batch):
            return None

    with pytest.raises(InvalidInputError, match="hands no inner tensors out"):
        departures(reference, Closed(reference, None), [pictures(2)])
    with pytest.raises(InvalidInputError, match="at least one batch"):
        departures(reference, Ruled(reference, RULES[REFERENCE]), [])

    class Foreign(Ruled):
        def inner(self, batch):
            return tuple(replace(one, scale=one.scale * 3) for one in super().inner(batch))

    with pytest.raises(InvalidInputError, match="compare a file with the model"):
        departures(reference, Foreign(reference, RULES[REFERENCE]), [pictures(2)])


def test_the_simulation_departs_at_ties_only(reference):
    sim = calibrate(nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)), pictures(32))
    for found in departures(IntegerReference(sim), Simulation(sim), [pictures(300)]):
        assert found.from_tie is None or found.from_tie < 1e-3
