"""Direct labels beside points, moved apart where they would overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

_LINE = 11  # height of a label [pt]
_NEAR = 24  # points closer than this share a label [pt]

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


def label_points(axes: Axes, points: Points, texts: Sequence[str], clear: Sequence[float]) -> None:
    """Write a text beside each point ``[N, 2]``; points of one text that lie together share it.

    Texts start right of ``clear`` ``[N]``, where bars end. Needs the final layout: call
    ``figure.draw_without_rendering()`` first.
    """
    scale = axes.figure.dpi / 72  # pixels per point
    where = axes.transData.transform(points) / scale
    ends = axes.transData.transform(np.column_stack([clear, points[:, 1]]))[:, 0] / scale
    clusters = cluster(where, texts)
    ys = [float(where[members, 1].mean()) for members in clusters]
    for members, y, height in zip(clusters, ys, spread(ys, _LINE), strict=True):
        anchor = np.array([ends[members].max(), y])
        axes.annotate(
            texts[members[0]],
            tuple(axes.transData.inverted().transform(anchor * scale)),
            xytext=(9, height - y),
            textcoords="offset points",
            va="center",
            fontsize="small",
            color="#333333",
            path_effects=[withStroke(linewidth=3, foreground="white")],
            zorder=6,
        )


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
