"""Result rows made ready to draw: checked, and summed up over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from qutils.errors import InvalidInputError
from qutils.evaluate.bench.accuracy import wilson
from qutils.lab.figures.theme import method_label

#: What makes two rows the same setting; they then differ only by seed.
SETTING = (
    "model",
    "method",
    "weight_bits",
    "activation_bits",
    "observer",
    "granularity",
    "execution",
)


def checked(df: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return ``df`` if it has these columns and at least one row.

    Raises:
        InvalidInputError: names the missing columns, or says that no row is left.
    """
    missing = [name for name in columns if name not in df.columns]
    if missing:
        raise InvalidInputError(f"the rows lack the columns {', '.join(missing)}")
    if df.empty:
        raise InvalidInputError("no rows to draw: check the filter, or what was measured")
    return df


def reference(df: pd.DataFrame) -> pd.Series:
    """Mean top-1 of FP32 by model [%].

    Raises:
        InvalidInputError: a model has no FP32 row.
    """
    fp32 = df[df["method"] == "fp32"].groupby("model")["top1"].mean()
    without = sorted(set(df["model"]) - set(fp32.index))
    if without:
        raise InvalidInputError(f"no row with method fp32 for {', '.join(without)}")
    return fp32


def over_seeds(df: pd.DataFrame, extra: Sequence[str] = ()) -> pd.DataFrame:
    """One row per setting: ``mean``, ``low``, ``high`` of top-1 over seeds [%], and their ``n``.

    ``low`` and ``high`` are the extremes; ``extra`` columns take their median, and so do the
    ``pictures`` scored, where the rows tell them (``top1_n``).
    """
    if "top1_n" in df:
        df, extra = df.assign(pictures=df["top1_n"].astype(float)), (*extra, "pictures")
    groups = df.groupby(list(SETTING), dropna=False, sort=True)
    top1 = groups["top1"].agg(["mean", "min", "max", "count"])
    top1.columns = pd.Index(["mean", "low", "high", "n"])
    return top1.join(groups[list(extra)].median()).reset_index()


def one_observer(summary: pd.DataFrame) -> None:
    """Refuse settings that differ by observer alone: one line would run through both.

    Raises:
        InvalidInputError: names the setting and its observers.
    """
    keys = [name for name in SETTING if name != "observer"]
    for setting, rows in summary.groupby(keys, dropna=False):
        if len(rows) > 1:
            observers = ", ".join(map(str, rows["observer"]))
            raise InvalidInputError(
                f"several observers ({observers}) for {setting}: choose one, as in "
                "df[df['observer'] == 'mse'], or draw accuracy_vs_observer"
            )


def in_order(df: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Models of the summary, in the order in which the rows name them."""
    drawn = set(summary["model"])
    return [model for model in dict.fromkeys(df["model"]) if model in drawn]


def seeds_note(summary: pd.DataFrame) -> str:
    """What the bars show and how many seeds each method has, for the foot of a figure.

    Of single runs it tells how far chance in the choice of the pictures reaches.
    """
    if summary["n"].max() < 2:
        return _single_runs(summary)
    counts = [
        f"{span(rows['n'])} ({method_label(str(method))})"
        for method, rows in summary.groupby("method")
    ]
    return f"point: mean, bar: lowest to highest seed, n = {', '.join(counts)}"


def half_widths(summary: pd.DataFrame) -> pd.Series:
    """Half the 95 % interval (Wilson) of each mean over its ``pictures`` [points of top-1].

    >>> half_widths(pd.DataFrame({"mean": [93.0], "pictures": [10_000]})).round(2).tolist()
    [0.5]
    """
    ends = [
        wilson(round(mean * pictures / 100), int(pictures))
        for mean, pictures in zip(summary["mean"], summary["pictures"], strict=True)
    ]
    return pd.Series([(high - low) / 2 for low, high in ends], summary.index)


def _single_runs(summary: pd.DataFrame) -> str:
    if "pictures" not in summary or summary["pictures"].isna().any():
        return "single runs, no interval"
    half = half_widths(summary)
    ends = " to ".join(dict.fromkeys(f"{width:.1f}" for width in (half.min(), half.max())))
    counts = " to ".join(f"{n:,}" for n in sorted(set(_ends(summary["pictures"]))))
    return f"single runs; 95 % interval of one point: ± {ends} points, n = {counts}"


def _ends(counts: pd.Series) -> tuple[int, int]:
    """Smallest and largest of some counts."""
    return int(counts.min()), int(counts.max())


def span(counts: pd.Series) -> str:
    """The same in words.

    >>> span(pd.Series([3, 1, 3])), span(pd.Series([3, 3]))
    ('1 to 3', '3')
    """
    return " to ".join(str(n) for n in sorted(set(_ends(counts))))
