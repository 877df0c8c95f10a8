"""What a file's network takes at most: sizes of open axes, numbers that index a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qutils.errors import InvalidInputError

#: Key of a file's metadata that holds them.
KEY = "qutils.limits"


@dataclass(frozen=True)
class Limits:
    """Largest sizes and numbers, by the places of inputs; nothing is known of others.

    ``sizes`` are ``(input, axis, size)``, as position embeddings allow; ``rows`` are
    ``(input, number of rows)`` of the table that an input indexes.
    """

    sizes: tuple[tuple[int, int, int], ...] = ()
    rows: tuple[tuple[int, int], ...] = ()

    def dumps(self) -> str:
        """Return the limits as text, for a file's metadata; empty if there are none.

        >>> Limits.loads(Limits(sizes=((0, 1, 512),)).dumps()).sizes
        ((0, 1, 512),)
        """
        return json.dumps(asdict(self)) if self.sizes or self.rows else ""

    @classmethod
    def loads(cls, text: str | None) -> Limits:
        """Return the limits in a file's metadata; none where it holds none."""
        if not text:
            return cls()
        found = json.loads(text)
        return cls(
            tuple((place, axis, size) for place, axis, size in found["sizes"]),
            tuple((place, rows) for place, rows in found["rows"]),
        )

    def check(self, path: Path, fed: Mapping[str, NDArray[Any]]) -> None:
        """Raise InvalidInputError for arrays, in the order of the inputs, beyond the limits."""
        named = list(fed.items())
        for place, axis, most in self.sizes:
            name, x = named[place]
            if x.shape[axis] > most:
                raise InvalidInputError(
                    f"{path} takes at most {most} along axis {axis} of {name!r}, got "
                    f"{list(x.shape)}. Cut or split longer inputs."
                )
        for place, rows in self.rows:
            name, x = named[place]
            low, high = int(x.min()), int(x.max())
            if low < 0 or high >= rows:
                raise InvalidInputError(
                    f"{path} takes {name!r} from 0 to {rows - 1}, got {low if low < 0 else high}. "
                    "Use the vocabulary that the model was trained with."
                )
