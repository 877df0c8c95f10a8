"""The QAT explorer: its numbers are those of the recorded weights, counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.lab.explorers.qat import QatExplorer, Run, spread
from qutils.lab.figures.explorers.qat import QatData
from qutils.numerics import affine
from qutils.numerics.affine import QParams
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.qat import LayerState, Snapshot


def layer(
    latent: list[float], moves: int = 0, reversals: int = 0, scale: float = 0.5
) -> LayerState:
    q = QParams(torch.tensor([scale]), torch.zeros(1, dtype=torch.int32), -1, 1, axis=0)
    return LayerState(torch.tensor([latent]), q, moves, reversals)


def run(bits: int = 2) -> Run:
    """Four weights in steps of 0.5: integers 0 0 1 1, later 0 1 1 1; the last is clipped."""
    pages = (
        Snapshot(0, math.nan, 20.0, {"a": layer([0.0, 0.24, 0.5, 1.4])}),
        Snapshot(5, 1.5, 60.0, {"a": layer([0.1, 0.26, 0.5, 1.4], 1, 0)}),
        Snapshot(10, 0.5, 80.0, {"a": layer([0.1, 0.30, 0.5, 1.4], 4, 3)}),
    )
    recipe = Recipe(Scheme(bits, granularity="per_channel"), Scheme(8))
    return Run(recipe, pages, fp32=90.0, pictures=50)


def drawn(explorer: QatExplorer, **setting: int | str) -> QatData:
    data = explorer.view(**setting).data
    assert isinstance(data, QatData)
    return data


def test_facts_are_the_counted_ones():
    numbers = QatExplorer([run()]).view(step=10).numbers
    assert numbers["loss"] == 0.5
    assert numbers["accuracy"] == 80.0
    assert numbers["changed"] == 25.0  # one of four weights
    assert numbers["moves"] == 1.0
    assert numbers["back"] == 75.0
    floats, used = np.array([0.0, 0.24, 0.5, 1.4]), np.array([0.0, 0.5, 0.5, 0.5])
    expected = 10 * np.log10((floats**2).sum() / ((floats - used) ** 2).sum())
    assert numbers["sqnr_db"] == pytest.approx(expected, abs=1e-5)


def test_at_the_start_nothing_has_changed_and_no_loss_is_made_up():
    view = QatExplorer([run()]).view(step=0)
    assert view.numbers["changed"] == 0.0
    assert view.numbers["loss"] == "not trained yet"
    assert "PTQ" in view.note
    assert not drawn(QatExplorer([run()]), step=0).moved.any()


def test_the_note_tells_gain_and_distance():
    note = QatExplorer([run()]).view(step=10).note
    assert "Accuracy +60.0 points on PTQ" in note
    assert "further from" in note  # 0.24 is nearer to 0 than to 0.5


def test_weights_that_kept_their_place_are_called_neither_further_nor_closer():
    same = QatExplorer([run()]).view(step=0).numbers["sqnr_db"]
    pages = tuple(replace(page, layers=run().snapshots[0].layers) for page in run().snapshots)
    note = QatExplorer([replace(run(), snapshots=pages)]).view(step=5).note
    assert f"as far from the float weights as at the start: {same:.2f} dB" in note


def test_histograms_hold_every_weight_and_only_those_that_moved():
    data = drawn(QatExplorer([run()]), step=10)
    assert data.start.sum() == data.now.sum() == 4
    assert data.moved.sum() == 1
    place = data.edges[:-1][data.moved > 0][0]
    assert place <= 0.30 / 0.5 < place + (data.edges[1] - data.edges[0])
    assert data.now[-1] == 1  # 1.4 / 0.5 = 2.8 lies beyond the picture, at its edge


def test_the_share_that_moved_is_of_the_weights_that_are_not_clipped():
    data = drawn(QatExplorer([run()]), step=5)
    assert data.moved_share.max() == 100.0  # the only weight near a threshold
    centres = (data.between[:-1] + data.between[1:]) / 2
    assert abs(centres[data.moved_share.argmax()] - (0.26 / 0.5 - 1)) < 0.03


def test_the_curve_is_marked_where_the_step_is():
    explorer = QatExplorer([run()])
    explorer.picture(explorer.view(step=5))
    assert [dot.get_xydata().tolist() for dot in explorer.plot.here] == [[[5, 1.5]], [[5, 60.0]]]


def test_default_runs_are_light_real_and_repeatable():
    explorer = QatExplorer.default()
    assert explorer.controls[0].options == (2, 4, 8)
    first, last = (
        explorer.view(bits=2, step=s).numbers for s in (0, explorer.controls[2].options[-1])
    )
    assert last["changed"] > 0
    assert last["accuracy"] > first["accuracy"]  # 2 bits: a few steps help already
    state = explorer.runs[2].snapshots[-1].layers["stage3.conv2.weight"]
    before = explorer.runs[2].snapshots[0].layers["stage3.conv2.weight"]
    different = affine.quantize(state.latent, state.q) != affine.quantize(before.latent, before.q)
    numbers = explorer.view(bits=2, layer="stage3.conv2.weight").numbers
    assert numbers["changed"] == pytest.approx(100 * different.float().mean().item())


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "no training to show"),
        ([run(), run()], "same weight bits"),
        ([run(2), replace(run(4), snapshots=run().snapshots[:2])], "differ in steps"),
    ],
    ids=["none", "twice", "other steps"],
)
def test_runs_that_do_not_go_together_are_refused(runs, message):
    with pytest.raises(InvalidInputError, match=message):
        QatExplorer(runs)


def test_frames_are_few_and_hold_both_ends():
    assert spread(tuple(range(21)), 9)[0] == 0
    assert spread(tuple(range(21)), 9)[-1] == 20
    assert len(spread(tuple(range(21)), 9)) == 9
    assert spread((1, 2), 9) == (1, 2)
