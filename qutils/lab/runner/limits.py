"""Read what a parameter's comment allows: ``# 2..8, of the weights``, ``# above 0, of QAT``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_NUMBER = r"-?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})?(?![\d.])")
_ABOVE = re.compile(rf"above ({_NUMBER})\b")


@dataclass(frozen=True)
class Limits:
    """Numbers from ``low`` to ``high``, without ``low`` itself if ``above``.

    >>> print(Limits(2, 8), Limits(1), Limits(0, above=True), sep="; ")
    2..8; at least 1; above 0
    """

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        if self.above:
            return f"above {self.low:g}"
        return f"at least {self.low:g}" if math.isinf(self.high) else f"{self.low:g}..{self.high:g}"


def limits_of(comment: str) -> Limits | None:
    """The limits with which a comment begins; None if it begins with something else.

    >>> print(limits_of("2..8, of the examples"), limits_of("1.. pictures"), limits_of("bits"))
    2..8 at least 1 None
    """
    if found := _RANGE.match(comment):
        return Limits(float(found[1]), float(found[2]) if found[2] else math.inf)
    if found := _ABOVE.match(comment):
        return Limits(float(found[1]), above=True)
    return None
