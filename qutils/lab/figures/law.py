"""Signal to quantization noise against bit width: the 6.02 dB per bit law, measured."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from qutils.evaluate.analysis.sqnr import DB_PER_BIT
from qutils.lab.figures.rows import checked
from qutils.lab.figures.theme import BLUE, GREEN, ORANGE, PURPLE, REFERENCE, VERMILLION, themed

_COLORS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE)


@themed
def sqnr_vs_bits(df: pd.DataFrame) -> Figure:
    """SQNR [dB] by bits, one line for each ``source``; dashed, the law ``6.02 bits``.

    Columns: ``source bits sqnr_db``.

    Raises:
        InvalidInputError: columns missing or no rows.
    """
    checked(df, ("source", "bits", "sqnr_db"))
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.subplots()
    bits = sorted(df["bits"].unique())
    axes.plot(bits, [DB_PER_BIT * b for b in bits], label="6.02 dB per bit", **REFERENCE)
    for index, (source, rows) in enumerate(df.groupby("source", sort=False)):
        ordered = rows.sort_values("bits")
        axes.plot(
            ordered["bits"],
            ordered["sqnr_db"],
            marker="o",
            color=_COLORS[index % len(_COLORS)],
            label=str(source),
        )
    axes.set_xticks(bits)
    axes.set_xlabel("bits")
    axes.set_ylabel("SQNR [dB]")
    axes.legend(loc="upper left")
    return figure
