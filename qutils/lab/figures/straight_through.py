"""The straight-through estimator: what a quantizer does, and what gradients are told of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.lab.figures.theme import BLUE, GREY, ORANGE, REFERENCE, VERMILLION, themed
from qutils.numerics.affine import QParams, qparams
from qutils.numerics.schemes import Scheme
from qutils.numerics.ste import fake_quantize_ste

_POINTS = 2_000


@themed
def straight_through(bits: int = 3) -> Figure:
    """A symmetric quantizer of ``[-1, 1]``: its staircase, ``dy/dx`` and ``dy/dscale``, by value.

    The gradients are those that ``ste.fake_quantize_ste`` gives to autograd.

    Raises:
        InvalidInputError: bits outside 2..8.
    """
    q = qparams(torch.tensor(-1.0), torch.tensor(1.0), Scheme(bits, signed=True, symmetric=True))
    x = torch.linspace(-1.6, 1.6, _POINTS)
    y, by_x, by_scale = gradients(x, q)
    figure = Figure(figsize=(7.2, 6.2), layout="constrained")
    top, middle, low = figure.subplots(3, 1, sharex=True, height_ratios=[1.6, 1, 1.2])
    _forward(top, x, y)
    _window(middle, x, by_x)
    low.plot(x, by_scale, color=ORANGE, label="rounding inside, the last integer outside")
    low.set_ylabel("dy / dscale")
    low.set_xlabel("value x, in units of the tensor")
    low.legend(loc="upper left", fontsize=9)
    for axes in (top, middle, low):
        for end in (q.qmin, q.qmax):
            axes.axvline(float(end * q.scale), color=GREY, linewidth=0.8, linestyle=":")
    return figure


@themed
def oscillation(latent: Sequence[float], step: float, target: float) -> Figure:
    """One latent weight by training step, what it is rounded to, and what the loss wants.

    ``latent [T]``; integers stand at multiples of ``step``, thresholds halfway between them.

    Raises:
        InvalidInputError: no steps, or a grid that is not wider than 0.
    """
    if len(latent) == 0 or step <= 0:
        raise InvalidInputError("give at least one latent value and a step above 0")
    values = torch.as_tensor(latent)
    rounded = torch.round(values / step) * step
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    low, high = float(rounded.min()) / step, float(rounded.max()) / step
    for threshold in torch.arange(low - 0.5, high + 1.0).tolist():
        axes.axhline(threshold * step, color=GREY, linewidth=0.8, linestyle=":")
    axes.axhline(target, label="what the loss wants", **REFERENCE)
    axes.step(range(len(values)), rounded, where="post", color=VERMILLION, label="weight in use")
    axes.plot(values, color=BLUE, label="latent weight")
    axes.set_xlabel("training step")
    axes.set_ylabel("value")
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure


def gradients(x: Tensor, q: QParams) -> tuple[Tensor, Tensor, Tensor]:
    """``y``, ``dy/dx`` and ``dy/dscale`` of each value: ``[N]`` each, per-tensor ``q``.

    Raises:
        InvalidInputError: more than one scale.
    """
    if q.scale.ndim:
        raise InvalidInputError("gradients by value need one scale (per_tensor)")
    values = x.clone().requires_grad_(True)
    scale = q.scale.expand_as(x).clone().requires_grad_(True)  # one each: a gradient each
    y = fake_quantize_ste(values, scale, q.zero_point.float().expand_as(x), q.qmin, q.qmax)
    by_x, by_scale = torch.autograd.grad(y.sum(), (values, scale))
    return y.detach(), by_x, by_scale


def _forward(axes: Axes, x: Tensor, y: Tensor) -> None:
    axes.plot(x, x, label="y = x", **REFERENCE)
    axes.plot(x, y, color=VERMILLION, label="forward: quantized")
    axes.set_ylabel("y")
    axes.legend(loc="upper left", fontsize=9)


def _window(axes: Axes, x: Tensor, by_x: Tensor) -> None:
    axes.plot(x, torch.zeros_like(x), label="true slope: 0 almost everywhere", **REFERENCE)
    axes.plot(x, by_x, color=BLUE, label="straight-through: 1 inside")
    axes.set_ylim(-0.15, 1.75)
    axes.set_ylabel("dy / dx")
    axes.legend(loc="upper left", fontsize=9, ncols=2)
