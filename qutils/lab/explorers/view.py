"""What an explorer answers: numbers with units, a sentence, and a text for those who do not see."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from qutils.errors import InvalidInputError


@dataclass(frozen=True)
class Fact:
    """One number under the picture: ``label: value unit``, rounded to ``digits`` decimals.

    >>> Fact("sqnr_db", "SQNR", 31.256, "dB").text
    '31.26 dB'
    """

    name: str
    label: str
    value: float | int | str
    unit: str = ""
    digits: int = 2

    @property
    def text(self) -> str:
        """The value as it is shown; an error-free SQNR is written ``exact``."""
        return f"{_number(self.value, self.unit, self.digits)} {self.unit}".strip()


def _number(value: float | int | str, unit: str, digits: int) -> str:
    if isinstance(value, str | int):
        return str(value)
    if math.isinf(value) and unit == "dB":
        return "exact, ∞"
    small = value != 0 and abs(value) < 0.5 * 10**-digits
    return f"{value:.{max(digits, 2)}e}" if small else f"{value:.{digits}f}"


@dataclass(frozen=True)
class View:
    """The answer to one setting.

    ``facts`` stand under the picture, ``note`` is one sentence of what to see in it, ``alt``
    describes the picture. ``table`` is an optional header and rows of text. ``data`` is what the
    explorer draws from. ``commands`` are pairs of what a command does and the command, to copy.
    """

    facts: tuple[Fact, ...]
    note: str
    alt: str
    table: tuple[tuple[str, ...], ...] = ()
    data: Any = field(default=None, compare=False)
    commands: tuple[tuple[str, str], ...] = ()

    @property
    def numbers(self) -> Mapping[str, float | int | str]:
        """Values of the facts by name, unrounded.

        Raises:
            InvalidInputError: two facts share a name.
        """
        found = {fact.name: fact.value for fact in self.facts}
        if len(found) != len(self.facts):
            raise InvalidInputError("two facts of one view share a name")
        return found

    def html(self) -> str:
        """Facts, note, table, commands, escaped; each value carries its name as ``data-fact``."""
        facts = "".join(
            f"<div><dt>{escape(fact.label)}</dt>"
            f'<dd data-fact="{escape(fact.name)}">{escape(fact.text)}</dd></div>'
            for fact in self.facts
        )
        note = f'<p class="note">{escape(self.note)}</p>' if self.note else ""
        commands = "".join(
            f'<p class="does">{escape(does)}</p><pre>{escape(command)}</pre>'
            for does, command in self.commands
        )
        return f"<dl>{facts}</dl>{note}{self._table()}{commands}"

    def _table(self) -> str:
        if not self.table:
            return ""
        head, *rows = self.table
        top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )
        return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
