"""A data frame as a table with all its rows, as a reader wants numbers: aligned, with units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

#: Text up to this long is not broken into lines.
_SHORT = 24
#: From so many rows on, the table says how many there are: a page shows it in a box.
_MANY = 20


@dataclass(frozen=True)
class Table:
    """A frame that displays itself whole: no row is left out, and the index is not shown."""

    frame: pd.DataFrame

    def _repr_html_(self) -> str:
        columns = [_Column(str(name), list(self.frame[name])) for name in self.frame]
        head = Markup("").join(column.heading() for column in columns)
        body = Markup("").join(
            Markup("<tr>{}</tr>\n").format(Markup("").join(cells))
            for cells in zip(*(column.cells() for column in columns), strict=True)
        )
        caption = Markup("<caption>{} rows</caption>\n").format(len(self.frame))
        return Markup("<table>\n{}<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table>").format(
            caption if len(self.frame) >= _MANY else "", head, body
        )

    def __repr__(self) -> str:
        return str(self.frame.to_string(index=False, na_rep="–"))


@dataclass(frozen=True)
class _Column:
    """A column: numbers are aligned at their point, short text stays in one line."""

    name: str
    values: list[Any]

    def heading(self) -> Markup:
        """Its name, broken at spaces alone."""
        return self.cell("th", self.name.replace("-", "\N{NON-BREAKING HYPHEN}"))

    def cells(self) -> list[Markup]:
        """Its cells; what is missing is a dash."""
        digits = max((_digits(v) for v in self.values if _is_number(v)), default=0)
        return [self.cell("td", _text(value, digits)) for value in self.values]

    def cell(self, tag: str, text: str) -> Markup:
        """One cell with the class of the column."""
        return Markup('<{tag} class="{kind}">{text}</{tag}>').format(
            tag=tag, kind=self._kind(), text=escape(text)
        )

    def _kind(self) -> str:
        present = [value for value in self.values if not _is_missing(value)]
        if all(_is_number(value) or str(value)[:1].isdigit() for value in present):
            return "num"
        return "short" if all(len(str(value)) <= _SHORT for value in present) else "text"


def _text(value: Any, digits: int) -> str:
    if _is_missing(value):
        return "–"
    return f"{value:,.{digits}f}" if _is_number(value) else str(value)


def _digits(value: float) -> int:
    """Digits after the point, three at most.

    >>> _digits(92.5), _digits(4.0), _digits(0.12345)
    (1, 0, 3)
    """
    return len(f"{value:.3f}".rstrip("0").partition(".")[2])


def _is_number(value: Any) -> bool:
    return pd.api.types.is_number(value) and not pd.isna(value)


def _is_missing(value: Any) -> bool:
    return bool(pd.isna(value)) or value == ""
