"""Why a layer departs: the rule of rounding that gives a runtime's integers, found by trying."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.parity import Executor, layer_names, matched
from qutils.integer import RULES, IntegerReference
from qutils.numerics.exact.values import Accumulator, Grid

#: The rule of the integer reference, the first.
REFERENCE = next(iter(RULES))


@dataclass(frozen=True)
class Departure:
    """One layer with weights: how many of a runtime's integers each rule gives.

    ``equal`` counts, by rule, integers that are equal among ``values``; all rules start from the
    runtime's own inputs to the layer. ``unlike`` is how many no rule gives. ``from_tie`` [steps]
    is how far from a half ``acc sx sw / sy`` lies, at the most, where the reference is not met:
    next to nothing if only the last bit of a float decided, None if all is met.
    """

    layer: str
    op: str
    values: int
    equal: Mapping[str, int]
    unlike: int
    from_tie: float | None = None

    @property
    def best(self) -> str:
        """The rule that gives most; of several, the first of RULES."""
        return max(self.equal, key=lambda rule: self.equal[rule])

    @property
    def explained(self) -> bool:
        """Whether that rule gives every integer."""
        return self.equal[self.best] == self.values


def departures(
    reference: IntegerReference, executor: Executor, batches: Iterable[Tensor]
) -> tuple[Departure, ...]:
    """Try every rule of RULES on each layer with weights, in order of execution.

    Layers whose integers the runtime does not hand out are left out; memory is one batch.

    Raises:
        InvalidInputError: no pictures, or a runtime that hands no inner tensors out.
    """
    found: dict[str, Departure] = {}
    pictures = 0
    for x in batches:
        pictures += len(x)
        inner = executor.inner(x.numpy())
        if inner is None:
            raise InvalidInputError(
                "this runtime hands no inner tensors out: how it rounds cannot be seen"
            )
        given = dict(matched(reference.integers(x), inner))
        names = layer_names(reference)

        def watch(
            node: str,
            value: Any,
            grid: Grid,
            given: dict[str, Tensor] = given,
            names: dict[str, tuple[str, str]] = names,
        ) -> None:
            if isinstance(value, Accumulator) and node in given:
                new = _tried(names[node], value, grid, given[node])
                found[node] = _sum(found[node], new) if node in found else new

        reference.integers(x, given, watch)
    if not pictures:
        raise InvalidInputError("there is nothing to compare: give at least one batch of pictures")
    if not found:
        raise InvalidInputError(
            "no inner tensor of this runtime has the scale and shape of a layer: compare a file "
            "with the model that it was exported from"
        )
    return tuple(found.values())


def _tried(names: tuple[str, str], value: Accumulator, grid: Grid, got: Tensor) -> Departure:
    unlike = torch.ones_like(got, dtype=torch.bool)
    equal = {}
    for name, rule in RULES.items():
        same = rule(value, grid) == got
        equal[name] = int(same.sum())
        unlike &= ~same
    differs = RULES[REFERENCE](value, grid) != got
    tie = float(_from_tie(value, grid)[differs].max()) if differs.any() else None
    return Departure(*names, got.numel(), equal, int(unlike.sum()), tie)


def _from_tie(value: Accumulator, grid: Grid) -> Tensor:
    """Distance [steps] of ``acc sx sw / sy`` from the next half, float64."""
    scale = value.scale_x.double() * value.scale_w.double() / grid.scale.double()
    exact = value.integers.double() * value.along(scale)
    return (exact - torch.floor(exact) - 0.5).abs()


def _sum(one: Departure, other: Departure) -> Departure:
    equal = {rule: one.equal[rule] + other.equal[rule] for rule in one.equal}
    ties = [d.from_tie for d in (one, other) if d.from_tie is not None]
    return Departure(
        one.layer,
        one.op,
        one.values + other.values,
        equal,
        one.unlike + other.unlike,
        max(ties, default=None),
    )
