"""All observers on one tensor: the range each picks, the error it pays, and why one wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.error import ErrorSplit, error_split_of_rows
from qutils.numerics.affine import QParams
from qutils.numerics.observers import OBSERVERS, Rows, qparams_of
from qutils.numerics.schemes import Scheme

#: Observers whose SQNR differs by less [dB] are called equal.
TIE_DB = 0.1


@dataclass(frozen=True)
class ObserverOutcome:
    """What one observer makes of a tensor.

    ``low`` and ``high`` are the ends that the integers reach, ``scale (qmin - zero_point)`` and
    ``scale (qmax - zero_point)``, over all rows. ``levels`` integers are there in all rows
    together, ``levels_used`` of them stand for at least one value.
    """

    observer: str
    low: float
    high: float
    q: QParams
    error: ErrorSplit
    levels: int
    levels_used: int

    @property
    def sqnr_db(self) -> float:
        """``10 log10(mean x^2 / mean squared error)`` [dB]."""
        return self.error.sqnr_db

    @property
    def levels_wasted(self) -> int:
        """Integers that no value becomes."""
        return self.levels - self.levels_used

    @property
    def step(self) -> float:
        """Mean scale of the rows [units of the tensor]."""
        return float(self.q.scale.mean())


def compare_observers(
    rows: Rows, scheme: Scheme, axis: int | None = None
) -> tuple[ObserverOutcome, ...]:
    """Every entry of OBSERVERS on the same values and bits, in the order of the registry.

    Args:
        scheme: bits, sign and symmetry (all set); its observer does not matter.
        axis: of the channels where the rows are channels, as in ``qparams_of``.

    Raises:
        InvalidInputError: the scheme leaves sign or symmetry open.
    """
    if scheme.signed is None or scheme.symmetric is None:
        raise InvalidInputError("set signed and symmetric: only in a Recipe have they defaults")
    return tuple(_outcome(rows, replace(scheme, observer=name), axis) for name in OBSERVERS)


def _outcome(rows: Rows, scheme: Scheme, axis: int | None) -> ObserverOutcome:
    q = qparams_of(rows, scheme, axis)
    count = q.qmax - q.qmin + 1
    scale, zero_point = q.scale.reshape(-1, 1), q.zero_point.reshape(-1, 1)
    integers = (torch.round(rows.values / scale) + zero_point).clamp(q.qmin, q.qmax) - q.qmin
    used = torch.zeros(len(rows.values), count, dtype=torch.bool, device=rows.values.device)
    used.scatter_(1, integers.long(), True)
    return ObserverOutcome(
        observer=scheme.observer,
        low=float((scale * (q.qmin - zero_point)).min()),
        high=float((scale * (q.qmax - zero_point)).max()),
        q=q,
        error=error_split_of_rows(rows, q),
        levels=count * len(rows.values),
        levels_used=int(used.sum()),
    )


def explain(outcomes: Sequence[ObserverOutcome]) -> str:
    """One sentence on why the best won, from the numbers alone.

    Compared with the widest range if the winner clips, with the worst otherwise.

    Raises:
        InvalidInputError: no outcomes.
    """
    if not outcomes:
        raise InvalidInputError("there is nothing to explain: give at least one outcome")
    ranked = sorted(outcomes, key=lambda outcome: -outcome.sqnr_db)
    best, worst = ranked[0], ranked[-1]
    if _gap(best, worst) < TIE_DB:
        return (
            f"All observers agree to {TIE_DB:g} dB, at {_db(best)}: no value stands out far enough "
            "for the choice of range to matter."
        )
    equals = [outcome for outcome in ranked if _gap(best, outcome) < TIE_DB]
    names = _join([_spoken(outcome) for outcome in equals])
    wins = f"{names} {'wins' if len(equals) == 1 else 'win'} with {_db(best)}"
    widest = max(outcomes, key=lambda outcome: outcome.step)
    if best.error.clipped_share > 0 and widest not in equals:
        subject = "it" if len(equals) == 1 else _spoken(best)
        return f"{wins}: {subject} {_why_clip(best, widest)}."
    return f"{wins}: {_why_keep(best, worst)}."


def _why_clip(best: ObserverOutcome, widest: ObserverOutcome) -> str:
    """The winner clips: what the widest range would have cost."""
    wasted = ""
    if widest.levels_wasted > widest.levels / 4:
        wasted = f" leaves {widest.levels_wasted:,} of {widest.levels:,} levels without a value and"
    return (
        f"clips {_percent(best.error.clipped_share)} of the values, which makes the step "
        f"{_finer(best, widest)} than that of {_spoken(widest)}, whose range of {_range(widest)}"
        f"{wasted} reaches {_db(widest)}; of the error that remains, "
        f"{_percent(best.error.clipping / best.error.total)} is clipping"
    )


def _why_keep(best: ObserverOutcome, worst: ObserverOutcome) -> str:
    """The winner does not clip, or nothing is wider: what the worst one lost."""
    clipping = worst.error.clipping - best.error.clipping
    if clipping > worst.error.rounding - best.error.rounding:
        return (
            f"a range of {_range(best)} keeps the far values that {_spoken(worst)} gives up; "
            f"clipping {_percent(worst.error.clipped_share)} of the values makes up "
            f"{_percent(worst.error.clipping / worst.error.total)} of its error, and it reaches "
            f"{_db(worst)}"
        )
    if worst.step < 1.02 * best.step:
        alike = "the ranges are nearly equal, but " if worst.step > best.step / 1.02 else ""
        return (
            f"{alike}the levels happen to fall closer to the values than those of "
            f"{_spoken(worst)}, which reaches {_db(worst)}"
        )
    return (
        f"the step is {_finer(best, worst)} than that of {_spoken(worst)}, which uses "
        f"{worst.levels_used:,} of {worst.levels:,} levels and reaches {_db(worst)}"
    )


def _gap(better: ObserverOutcome, other: ObserverOutcome) -> float:
    """Difference in SQNR [dB]; 0 between two that are exact."""
    equal = better.sqnr_db == other.sqnr_db
    return 0.0 if equal else better.sqnr_db - other.sqnr_db


def _finer(best: ObserverOutcome, other: ObserverOutcome) -> str:
    ratio = other.step / best.step
    return f"{ratio:.1f} times finer" if ratio >= 1.5 else f"{100 * (ratio - 1):.0f} % finer"


def _spoken(outcome: ObserverOutcome) -> str:
    return outcome.observer.replace("_", " ")


def _db(outcome: ObserverOutcome) -> str:
    return "no error at all" if math.isinf(outcome.sqnr_db) else f"{outcome.sqnr_db:.1f} dB"


def _range(outcome: ObserverOutcome) -> str:
    return f"{outcome.low:.3g} to {outcome.high:.3g}"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
