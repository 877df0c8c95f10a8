"""The pictures whose prediction changed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qutils.errors import InvalidInputError


@dataclass(frozen=True)
class Flip:
    """One picture that two models put in different classes.

    ``confidence`` is the softmax probability that the first gave to its class. A margin is the
    first's class logit less the second's class logit: positive before, negative after.
    """

    index: int
    before: int
    after: int
    confidence: float
    margin_before: float
    margin_after: float
    label: int | None = None

    @property
    def verdict(self) -> str:
        """``lost`` or ``gained`` the right answer, ``neither``; ``unknown`` without a label."""
        if self.label is None:
            return "unknown"
        return {self.before: "lost", self.after: "gained"}.get(self.label, "neither")


def flips(before: Tensor, after: Tensor, labels: Tensor | None = None) -> tuple[Flip, ...]:
    """Pictures whose argmax changed, the most confident first; equal confidence by index.

    Args:
        before, after: logits ``[N, classes]`` of the same pictures. labels: ``[N]``.

    Raises:
        InvalidInputError: shapes do not match, or NaN in the logits.

    >>> before = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    >>> flip, = flips(before, before + torch.tensor([-1.0, 2.0]))
    >>> flip.index, flip.before, flip.after, flip.margin_before, flip.margin_after
    (0, 0, 1, 1.0, -2.0)
    """
    if before.ndim != 2 or before.shape != after.shape:
        raise InvalidInputError(
            f"logits of shape {list(before.shape)} and {list(after.shape)} cannot be compared: "
            "give two of [N, classes]"
        )
    if labels is not None and labels.shape != before.shape[:1]:
        raise InvalidInputError(f"{len(labels)} labels do not fit {len(before)} pictures")
    if torch.isnan(before).any() or torch.isnan(after).any():
        raise InvalidInputError("the logits hold NaN: look for it in the pictures and weights")
    old, new = before.argmax(dim=1, keepdim=True), after.argmax(dim=1, keepdim=True)  # [N, 1]
    confidence = before.double().softmax(dim=1).gather(1, old)[:, 0]
    margins = [(logits.gather(1, old) - logits.gather(1, new))[:, 0] for logits in (before, after)]
    changed = (old != new)[:, 0].nonzero().flatten()
    order = changed[confidence[changed].argsort(descending=True, stable=True)]
    return tuple(
        Flip(
            index=i,
            before=int(old[i]),
            after=int(new[i]),
            confidence=float(confidence[i]),
            margin_before=float(margins[0][i]),
            margin_after=float(margins[1][i]),
            label=None if labels is None else int(labels[i]),
        )
        for i in order.tolist()
    )
