"""What was compared in sentences, true whatever came out."""

from __future__ import annotations

from collections.abc import Sequence

from qutils.evaluate.analysis.departures import REFERENCE
from qutils.evaluate.analysis.parity import Parity
from qutils.integer import RULES
from qutils.lab.studies.parity.plan import Profile
from qutils.lab.studies.parity.results import departures
from qutils.lab.studies.parity.runs import Figures


def of_missing(size: Profile) -> str:
    """Which runtimes run, and how to install those that this machine lacks."""
    here = ", ".join(f"`{name}`" for name in size.runtimes) or "none"
    if not size.missing:
        return f"Runtimes of this run: {here}."
    lacking = "; ".join(f"`{name}` (`{command}`)" for name, command in size.missing)
    return f"Runtimes of this run: {here}. Not installed here, and so not compared: {lacking}."


def of_departures(found: Sequence[Figures]) -> str:
    """A line for each model and executor: which of its layers themselves compute otherwise."""
    return "\n".join(f"- **{f.model}, {f.parity.name}**: {_line(f.parity)}." for f in found)


def _line(got: Parity) -> str:
    if not got.layers:
        return "no inner tensors are handed out, so that only the output can be compared"
    largest = max(layer.own.largest for layer in got.layers)
    steps = f", by {largest} step{'s' * (largest != 1)} at the most" if got.departing else ""
    return departures(got) + steps


#: A value this near to a half [steps] is decided by the last bits of float32.
TIE = 1e-2


def of_reasons(found: Sequence[Figures]) -> str:
    """A line for each model and executor: what the departures of its layers have in common."""
    told = [f for f in found if f.departures]
    return "\n".join(f"- **{f.model}, {f.parity.name}**: {_reason(f)}." for f in told)


def _reason(figures: Figures) -> str:
    values = sum(d.values for d in figures.departures)
    unlike = sum(d.values - d.equal[REFERENCE] for d in figures.departures)
    if not unlike:
        return f"none of {values:,} integers differs"
    furthest = max(d.from_tie for d in figures.departures if d.from_tie is not None)
    line = f"{unlike:,} of {values:,} integers differ, at most {furthest:.1e} steps from a tie"
    if furthest > TIE:
        return f"{line}: more than the order of float operations is at work"
    best = max(RULES, key=lambda rule: sum(d.equal[rule] for d in figures.departures))
    left = values - sum(d.equal[best] for d in figures.departures)
    rest = "all of them" if not left else f"all but {left:,}"
    reason = f"{line}: the last bits of a float decide there"
    return reason if best == REFERENCE else f"{reason}. The rule *{best}* gives {rest}"
