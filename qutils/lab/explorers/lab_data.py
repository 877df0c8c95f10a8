"""What the lab draws: one tensor under its quantizer, and thumbnails of what flipped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qutils.evaluate.analysis import Flip, sqnr_db, sqnr_of_rows
from qutils.graph import Site
from qutils.lab.explorers.subject import Outcome, Subject
from qutils.lab.figures.explorers.lab import COLUMNS, MOST_LEVELS, ROWS, LabData, Thumbnail
from qutils.lab.figures.theme import model_label
from qutils.numerics import affine
from qutils.numerics.affine import QParams
from qutils.numerics.observers.rows import rows_of

BINS = 140


@dataclass(frozen=True)
class ShownTensor:
    """One tensor of a network and the quantizer it got.

    ``low`` and ``high`` are the lowest and highest representable value of each scale, flat.
    ``sqnr_db`` is of this tensor alone: its float values against the same values quantized.
    """

    site: Site
    q: QParams
    values: NDArray[np.float64]
    counts: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    sqnr_db: float


def site_of(subject: Subject, outcome: Outcome, tensor: str) -> Site:
    """The tensor asked for, or the activation of the lowest SQNR where the network lacks it."""
    return subject.sites.get(tensor, subject.sites[outcome.worst.layer])


def shown_tensor(subject: Subject, outcome: Outcome, site: Site) -> ShownTensor:
    """Values, ranges and own SQNR of a tensor; an activation's values are its kept histogram."""
    q = outcome.qparams[site.name]
    if site.role == "weight":
        weight = subject.weight(site, outcome)
        rows, own = rows_of(weight), sqnr_db(weight, affine.fake_quantize(weight, q))
    else:
        rows = outcome.statistics[site.name].rows()
        own = sqnr_of_rows(rows, q)
    low, high = (q.scale * (end - q.zero_point) for end in (q.qmin, q.qmax))
    return ShownTensor(
        site=site,
        q=q,
        values=rows.values[0].double().numpy(),
        counts=rows.counts[0].numpy(),
        low=low.flatten().double().numpy(),
        high=high.flatten().double().numpy(),
        sqnr_db=own,
    )


def lab_data(subject: Subject, outcome: Outcome, shown: ShownTensor, method: str) -> LabData:
    """Everything the picture shows."""
    counts, edges = np.histogram(shown.values, bins=BINS, weights=shown.counts)
    names = [layer.layer for layer in outcome.layers]
    chosen = shown.site.layer if shown.site.role == "weight" else shown.site.name
    return LabData(
        model=f"{model_label(subject.name)}, {outcome.recipe.label}",
        method=method,
        top1=outcome.top1,
        interval=outcome.interval,
        float_top1=subject.top1,
        n=outcome.n,
        layers=tuple(names),
        sqnr_db=np.array([layer.sqnr_db for layer in outcome.layers]),
        worst=names.index(outcome.worst.layer),
        chosen=names.index(chosen) if chosen in names else None,
        tensor=shown.site.name,
        tensor_sqnr_db=shown.sqnr_db,
        observer=outcome.recipe.weights.observer,
        edges=edges.astype(float),
        counts=counts.astype(float),
        low=shown.low,
        high=shown.high,
        half_steps=(shown.q.scale / 2).flatten().double().numpy(),
        levels=_levels(shown.q),
        thumbnails=tuple(_thumbnail(subject, flip) for flip in outcome.flips[: ROWS * COLUMNS]),
        flipped=len(outcome.flips),
    )


def _levels(q: QParams) -> NDArray[np.float64]:
    """Values of all integers of one scale; none where they are too many to draw."""
    if q.scale.numel() != 1 or q.qmax - q.qmin >= MOST_LEVELS:
        return np.empty(0)
    levels = (torch.arange(q.qmin, q.qmax + 1) - q.zero_point.flatten()) * q.scale.flatten()
    return np.asarray(levels.double().numpy())


def _thumbnail(subject: Subject, flip: Flip) -> Thumbnail:
    names, label = subject.test.classes, flip.label
    before, after = (f"{names[i]} ✓" if i == label else names[i] for i in (flip.before, flip.after))
    return Thumbnail(_pixels(subject.test.x[flip.index]), before, after, flip.verdict)


def _pixels(x: Tensor) -> NDArray[np.float64]:
    """A network input ``[1 or 3, H, W]`` as a picture ``[H, W, 3]`` in 0..1; else one grey."""
    if x.ndim != 3 or x.shape[0] not in (1, 3):
        return np.full((8, 8, 3), 0.8)
    low, high = x.aminmax()
    picture = (x - low) / (high - low).clamp(min=1e-12)
    return np.asarray(picture.expand(3, -1, -1).permute(1, 2, 0).double().numpy())
