"""Where the time of one file goes: bars by operator type."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from qutils.evaluate.explain import Explanation, Profile
from qutils.lab.figures.theme import BLUE, GREY, ORANGE, VERMILLION, themed

#: Always this colour for this kind of operator.
KIND_COLORS = {"integer": BLUE, "float": VERMILLION, "conversion": ORANGE, "other": GREY}
#: Operator types beyond these are one bar.
SHOWN = 10


@themed
def time_by_operator(found: Explanation) -> Figure:
    """Median time of each operator type [ms], integer, float and conversion in colours.

    Beside the float file's on the same scale, if that was measured.
    """
    profiles = [("this file", found.profile)]
    if found.floats is not None:
        profiles.append(("float file", found.floats))
    bars = [_bars(profile) for _, profile in profiles]
    heights = [len(rows) for rows in bars]
    figure = Figure(figsize=(7.6, 1.3 + 0.32 * sum(heights)), layout="constrained")
    grid: Any = figure.subplots(
        len(profiles), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
    )
    for axes, (title, profile), rows in zip(grid[:, 0], profiles, bars, strict=True):
        places = range(len(rows))
        axes.barh(
            places,
            [row[2] for row in rows],
            color=[KIND_COLORS[row[1]] for row in rows],
            height=0.7,
        )
        for place, (_, _, milliseconds) in zip(places, rows, strict=True):
            share = 100 * milliseconds / profile.milliseconds
            axes.annotate(
                f"{milliseconds:.3g} ms, {share:.0f} %",
                (milliseconds, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_yticks(places, [row[0] for row in rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_title(f"{title}: {profile.milliseconds:.3g} ms in operators")
    longest = max(row[2] for rows in bars for row in rows)
    grid[-1, 0].set_xlim(0, 1.28 * longest)
    profile = found.profile
    grid[-1, 0].set_xlabel(
        f"time [ms], median of {profile.runs} runs, batch {profile.batch}, "
        f"{profile.threads} thread{'s' if profile.threads > 1 else ''}"
    )
    kinds = [kind for kind in KIND_COLORS if any(row[1] == kind for rows in bars for row in rows)]
    handles = [Patch(color=KIND_COLORS[kind], label=kind) for kind in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _bars(profile: Profile) -> list[tuple[str, str, float]]:
    """Label, kind and milliseconds, longest first; what is left over is one bar."""
    rows: list[tuple[str, str, float]] = []
    for (op, kind), milliseconds in profile.by_op().items():
        count = sum((one.op, one.kind) == (op, kind) for one in profile.executed)
        rows.append((f"{count} {op}", kind, milliseconds))
    if len(rows) > SHOWN:
        rest = rows[SHOWN - 1 :]
        rows = [*rows[: SHOWN - 1], (f"{len(rest)} other types", "other", sum(r[2] for r in rest))]
    return rows
