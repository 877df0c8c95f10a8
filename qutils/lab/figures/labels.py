"""Direct labels beside points, moved apart where they would overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

#: Height of a label [pt].
LINE = 11
_NEAR = 24  # points closer than this share a label [pt]
_BESIDE = 9  # from a point to its label [pt]
_LED = 18  # to a label that was moved: a thin line leads to it [pt]
#: That line.
_LEADER: dict[str, Any] = {
    "arrowstyle": "-", "color": "#8C8C8C", "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4
}  # fmt: skip

Points = NDArray[np.float64]


def spread(positions: Sequence[float], gap: float) -> NDArray[np.float64]:
    """Move positions apart to at least ``gap``, about where they were.

    >>> spread([0.0, 0.5, 5.0], 1.0).tolist()
    [-0.25, 0.75, 5.0]
    """
    order = np.argsort(positions, kind="stable")
    blocks: list[tuple[float, int]] = []  # (centre, count) of runs of labels at distance gap
    for value in np.asarray(positions, float)[order]:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and _overlap(blocks[-2], blocks[-1], gap):
            (a, m), (b, n) = blocks.pop(-2), blocks.pop()
            blocks.append(((a * m + b * n) / (m + n), m + n))
    placed = [centre + gap * (i - (n - 1) / 2) for centre, n in blocks for i in range(n)]
    result = np.empty(len(placed))
    result[order] = placed
    return result


def _overlap(lower: tuple[float, int], upper: tuple[float, int], gap: float) -> bool:
    return upper[0] - lower[0] < gap * (lower[1] + upper[1]) / 2


def spread_around(positions: Sequence[float], gap: float, line: float) -> NDArray[np.float64]:
    """The same, but nothing nearer than ``gap`` to ``line``: all stay on their side of it.

    >>> spread_around([0.0, 0.5, 5.0], 1.0, line=0.2).tolist()
    [-0.8, 1.2, 5.0]
    """
    heights = np.asarray(positions, float)
    result = np.empty(len(heights))
    above = heights >= line
    result[above] = _upwards(heights[above], gap, line)
    result[~above] = -_upwards(-heights[~above][::-1], gap, -line)[::-1]
    return result


def _upwards(heights: Points, gap: float, line: float) -> Points:
    """``spread``, pushed up where that comes too near to a line below all."""
    placed = spread(heights.tolist(), gap)
    for i in np.argsort(placed, kind="stable"):
        line = placed[i] = max(placed[i], line + gap)
    return placed


def label_points(
    axes: Axes,
    points: Points,
    texts: Sequence[str],
    clear: Sequence[float],
    line: float | None = None,
    left: bool = False,
    colors: Sequence[str] | None = None,
) -> None:
    """Write a text beside each point ``[N, 2]``; points of one text that lie together share it.

    Texts start right of ``clear`` ``[N]``, where bars end, or end left of it, and keep off a
    horizontal ``line``; a thin line leads to those that had to move. Points of different
    ``colors`` share none. Needs the final layout: call ``figure.draw_without_rendering()`` first.
    """
    side = -1 if left else 1
    where = _on_paper(axes, points)
    ends = side * _on_paper(axes, np.column_stack([clear, points[:, 1]]))[:, 0]
    inks = ["#333333"] * len(texts) if colors is None else colors
    above = points[:, 1] >= line if line is not None else np.ones(len(points), bool)
    clusters = cluster(where, [" ".join(map(str, k)) for k in zip(texts, inks, above, strict=True)])
    ys = np.array([where[members, 1].mean() for members in clusters])
    xs = np.array([ends[members].max() for members in clusters])
    if line is None:
        heights = spread(ys.tolist(), LINE)
    else:
        level = float(_on_paper(axes, np.array([[0.0, line]]))[0, 1])
        heights = spread_around(ys.tolist(), LINE, level)
    for members, x, y, column, height in zip(
        clusters, xs, ys, _columns(xs, heights), heights, strict=True
    ):
        moved = abs(height - y) > LINE / 3 or column > x
        anchor = np.array([side * x, y]) * axes.figure.dpi / 72
        axes.annotate(
            texts[members[0]],
            tuple(axes.transData.inverted().transform(anchor)),
            xytext=(side * (column - x + (_LED if moved else _BESIDE)), height - y),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize="small",
            color=inks[members[0]],
            path_effects=[withStroke(linewidth=3, foreground="white")],
            arrowprops={**_LEADER, "relpos": (float(left), 0.5)} if moved else None,
            zorder=6,
        )


def _on_paper(axes: Axes, points: Points) -> Points:
    """Data ``[N, 2]`` in typographic points."""
    return np.asarray(axes.transData.transform(points), float) * 72 / axes.figure.dpi


def _columns(xs: Points, heights: Points) -> Points:
    """Where labels start: those right above each other start at the same place."""
    columns = np.array(xs, float)
    run: list[int] = []
    for i in np.argsort(heights, kind="stable"):
        if run and heights[i] - heights[run[-1]] > 1.2 * LINE:
            run = []
        run.append(i)
        columns[run] = max(columns[run])
    return columns


def cluster(points: Points, texts: Sequence[str]) -> list[list[int]]:
    """Indices of points of the same text within ``_NEAR`` of the first of their cluster.

    >>> cluster(np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 90.0], [0.0, 0.0]]), ["a", "a", "a", "b"])
    [[0, 1], [2], [3]]
    """
    found: list[list[int]] = []
    for i, text in enumerate(texts):
        for members in found:
            first = members[0]
            if texts[first] == text and (np.abs(points[first] - points[i]) < _NEAR).all():
                members.append(i)
                break
        else:
            found.append([i])
    return found
