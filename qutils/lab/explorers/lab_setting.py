"""What the lab's controls mean: a recipe, and the QAT checkpoint that fits it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from qutils.lab.explorers.control import Value
from qutils.numerics.schemes import Granularity, Recipe, Scheme
from qutils.zoo import QAT_CHECKPOINTS, QatCheckpoint

MAPPINGS = ("affine", "symmetric")
#: Weights that share a scale where granularity is ``per_group``.
GROUP_SIZE = 16
#: The tensor shown unless one is named: the activation of the lowest SQNR.
WORST = "worst"


@dataclass(frozen=True)
class Setting:
    """One position of all controls."""

    model: str
    method: str
    weight_bits: int
    activation_bits: int
    observer: str
    granularity: str
    mapping: str
    tensor: str

    @classmethod
    def of(cls, values: Mapping[str, Value], model: str) -> Setting:
        """The setting of checked values; ``model`` and PTQ where there is nothing to choose."""
        return cls(
            model=str(values.get("model", model)),
            method=str(values.get("method", "ptq")),
            weight_bits=int(values["weight_bits"]),
            activation_bits=int(values["activation_bits"]),
            observer=str(values["observer"]),
            granularity=str(values["granularity"]),
            mapping=str(values["mapping"]),
            tensor=str(values["tensor"]),
        )

    @property
    def recipe(self) -> Recipe:
        """Schemes of weights and activations; the network's input keeps 8 bits.

        >>> Setting("m", "ptq", 4, 8, "mse", "per_group", "symmetric", WORST).recipe.label
        'W4A8'
        """
        symmetric = self.mapping == "symmetric"
        weights = Scheme(
            self.weight_bits,
            granularity=cast(Granularity, self.granularity),
            group_size=GROUP_SIZE if self.granularity == "per_group" else None,
            observer=self.observer,
        )
        activations = Scheme(
            self.activation_bits, signed=symmetric, symmetric=symmetric, observer=self.observer
        )
        return Recipe(weights, activations)

    @property
    def trainable(self) -> bool:
        """Whether ``qutils train --qat`` makes such networks: per channel, affine activations."""
        return self.granularity == "per_channel" and self.mapping == "affine"

    @property
    def checkpoint(self) -> QatCheckpoint | None:
        """The shipped network after QAT of this model, bits, granularity and mapping, if any.

        The observer gave the ranges that training started from; it need not be the one chosen.
        """
        for made in shipped(self.model):
            bits = (made.weight_bits, made.activation_bits)
            if self.trainable and bits == (self.weight_bits, self.activation_bits):
                return made
        return None


def shipped(model: str | None = None) -> tuple[QatCheckpoint, ...]:
    """The checkpoints that are registered and whose file is there, of one model or of all."""
    return tuple(
        made
        for made in QAT_CHECKPOINTS.values()
        if model in (None, made.model) and made.path.is_file()
    )
