"""Architectures in a picture: SQNR of each tool's file, and what each tool refuses."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import BLUE, GREEN, ORANGE, PURPLE, REFERENCE, themed

#: Always this colour and mark for this tool.
TOOLS = {
    "qutils": (BLUE, "o"),
    "quantize_static": (ORANGE, "^"),
    "nncf": (GREEN, "D"),
    "torchao": (PURPLE, "v"),
}
#: The SQNR [dB] that every network has to reach.
ENOUGH = 20.0


@themed
def sqnr_by_architecture(df: pd.DataFrame) -> Figure:
    """SQNR [dB] of each tool's file, an architecture a line, ordered as given.

    A cross at the left edge is an architecture that the tool refuses. Columns:
    ``architecture tool works sqnr_db``.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    checked(df, ("architecture", "tool", "works", "sqnr_db"))
    names = list(dict.fromkeys(df["architecture"]))
    place = {name: len(names) - 1 - i for i, name in enumerate(names)}
    figure = Figure(figsize=(8.0, 1.4 + 0.19 * len(names)), layout="constrained")
    axes = figure.subplots()
    low = min(0.0, float(df["sqnr_db"].min(skipna=True) or 0.0)) - 2
    tools = [tool for tool in TOOLS if tool in set(df["tool"])]
    for offset, tool in enumerate(tools):
        color, mark = TOOLS[tool]
        own = df[df["tool"] == tool]
        shift = 0.5 - (offset + 1) / (len(tools) + 1)
        rows = own["architecture"].map(place) + 0.7 * shift
        axes.plot(own["sqnr_db"], rows, mark, color=color, markersize=4, linestyle="", label=tool)
        refused = rows[~own["works"].astype(bool)]
        axes.plot([low] * len(refused), refused, "x", color=color, markersize=5, linestyle="")
    axes.axvline(ENOUGH, **REFERENCE)
    axes.set_yticks(list(place.values()), list(place), fontsize=7)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlabel("SQNR of the file's first output [dB]; a cross at the left: refused")
    figure.legend(loc="outside upper center", ncols=len(tools), fontsize=8)
    return figure
