"""What a reader can move: one control of an explorer, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qutils.errors import InvalidInputError, unknown_name

Value = int | float | str
Kind = Literal["slider", "menu"]


@dataclass(frozen=True)
class Control:
    """One slider or menu: its options in order, and where it starts.

    ``options`` are the values it can take, ``texts`` how they are written (default: as they are).
    ``frames`` are the options that a page without a kernel offers; every one of them costs that
    page a picture for each combination with the others' (default: all options).

    >>> Control("bits", "Bits", (2, 4, 8), 4).check(8)
    8

    Raises:
        InvalidInputError: no options, or a default or frame that is none of them.
    """

    name: str
    label: str
    options: tuple[Value, ...]
    default: Value
    kind: Kind = "slider"
    texts: tuple[str, ...] | None = None
    frames: tuple[Value, ...] | None = None

    def __post_init__(self) -> None:
        if not self.options:
            raise InvalidInputError(f"control {self.name!r} has no options to choose from")
        if self.texts is not None and len(self.texts) != len(self.options):
            raise InvalidInputError(
                f"control {self.name!r} has {len(self.options)} options and {len(self.texts)} texts"
            )
        for value in (self.default, *(self.frames or ())):
            self.check(value)

    def check(self, value: Value) -> Value:
        """``value`` as it stands among the options.

        Raises:
            InvalidInputError: it is none of them; the allowed range, or the closest, is named.
        """
        if isinstance(value, bool) or value not in self.options:
            if isinstance(value, str) and isinstance(self.options[0], str):
                raise unknown_name(self.name, value, [str(option) for option in self.options])
            raise InvalidInputError(
                f"{self.name} is {value!r}; it can be {self._range()}: choose one of these"
            )
        return self.options[self.options.index(value)]

    def text(self, value: Value) -> str:
        """How an option is written."""
        if self.texts is None:
            return str(value).replace("_", " ")
        return self.texts[self.options.index(value)]

    def only(self, values: tuple[Value, ...]) -> Control:
        """The control of a page without a kernel: the options among ``values``."""
        default = self.default if self.default in values else values[0]
        texts = tuple(self.text(value) for value in values)
        return Control(self.name, self.label, values, default, self.kind, texts)

    def to_json(self) -> dict[str, object]:
        """What the browser needs to build it."""
        return {
            "name": self.name,
            "label": self.label,
            "kind": self.kind,
            "texts": [self.text(value) for value in self.options],
        }

    def _range(self) -> str:
        """The options in words: ``2..8`` where they are consecutive integers."""
        first, last = self.options[0], self.options[-1]
        if isinstance(first, int) and list(self.options) == list(range(first, int(last) + 1)):
            return f"{first}..{last}"
        return ", ".join(map(repr, self.options))
