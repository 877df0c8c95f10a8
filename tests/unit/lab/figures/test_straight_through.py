"""Gradients as drawn against autograd of the formula; the figures hold what they promise."""

import numpy as np
import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.lab.figures import oscillation, straight_through
from qutils.lab.figures.straight_through import gradients
from qutils.numerics.affine import QParams, fake_quantize


def formula(x: torch.Tensor, q: QParams) -> tuple[torch.Tensor, torch.Tensor]:
    """``dy/dx`` and ``dy/dscale`` by autograd; the slope of rounding replaced by 1 (LSQ)."""
    x = x.clone().requires_grad_(True)
    scale = q.scale.expand_as(x).clone().requires_grad_(True)
    u = (x / scale).clamp(q.qmin, q.qmax)
    y = (u + (u.round() - u).detach()) * scale
    by_x, by_scale = torch.autograd.grad(y.sum(), (x, scale))
    return by_x, by_scale


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_gradients_equal_autograd_of_the_formula(bits):
    qmax = 2 ** (bits - 1) - 1
    q = QParams(torch.tensor(1 / qmax), torch.tensor(0), -qmax, qmax)
    x = torch.linspace(-1.37, 1.41, 997)
    y, by_x, by_scale = gradients(x, q)
    assert torch.equal(y, fake_quantize(x, q))
    expected_x, expected_scale = formula(x, q)
    assert torch.equal(by_x, expected_x)
    assert torch.allclose(by_scale, expected_scale, atol=1e-4)


def test_a_channel_axis_is_refused():
    q = QParams(torch.ones(2), torch.zeros(2, dtype=torch.int32), -1, 1, axis=0)
    with pytest.raises(InvalidInputError, match="per_tensor"):
        gradients(torch.zeros(2, 3), q)


def test_the_staircase_has_its_steps_and_the_window_its_edges():
    figure = straight_through(bits=3)
    top, middle, low = figure.axes
    assert len(np.unique(np.round(top.lines[1].get_ydata(), 5))) == 7  # -3..3
    x, window = middle.lines[1].get_data()
    assert set(window) == {0.0, 1.0}
    assert np.abs(np.asarray(x)[window == 1]).max() < 1
    assert (low.lines[0].get_ydata().min(), low.lines[0].get_ydata().max()) == (-3, 3)


def test_oscillation_rounds_what_it_is_given():
    figure = oscillation([0.1, 0.2, 0.4], step=0.25, target=0.3)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["weight in use"].get_ydata()) == [0.0, 0.25, 0.5]
    assert [float(v) for v in lines["latent weight"].get_ydata()] == pytest.approx([0.1, 0.2, 0.4])


@pytest.mark.parametrize(("latent", "step"), [([], 1.0), ([0.0], 0.0)])
def test_oscillation_refuses_nothing_to_draw(latent, step):
    with pytest.raises(InvalidInputError, match="at least one"):
        oscillation(latent, step, 0.0)
