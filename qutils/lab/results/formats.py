"""Numbers and times as people read them, the same on every page."""

from __future__ import annotations

#: Ends the unit of a figure that says how much was lost: below zero, so much was gained.
LOST = " lost"


def duration(seconds: float) -> str:
    """Time as people say it.

    >>> duration(7.31), duration(754), duration(6120)
    ('7.3 s', '12 min 34 s', '1 h 42 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def day(moment: str) -> str:
    """``2026-11-23T13:44:53Z`` as ``2026-11-23 13:44 UTC``."""
    return f"{moment[:10]} {moment[11:16]} UTC"


def number(value: float) -> str:
    """Up to four significant digits, whole numbers in full with thousands set off.

    >>> number(92.531), number(78666.0), number(0.30512)
    ('92.53', '78,666', '0.3051')
    """
    if float(value).is_integer() or abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def signed(value: float) -> str:
    """A change with its sign.

    >>> signed(0.25), signed(-3.0)
    ('+0.25', '−3')
    """
    return ("−" if value < 0 else "+") + number(abs(value))


def quantity(value: float, unit: str) -> str:
    """A number with its unit; what is lost below zero is gained.

    >>> quantity(92.6, "%"), quantity(0.73, "points lost"), quantity(-0.047, "points lost")
    ('92.6 %', '0.73 points lost', '0.047 points gained')
    """
    if value < 0 and unit.endswith(LOST):
        value, unit = -value, unit.removesuffix(LOST) + " gained"
    return f"{number(value + 0.0)} {unit}".rstrip()  # no negative zero


def change(delta: float, unit: str) -> str:
    """A change of a quantity.

    >>> change(0.25, "points lost"), change(-3.0, "")
    ('+0.25 points', '−3')
    """
    return f"{signed(delta)} {unit.removesuffix(LOST)}".rstrip()
