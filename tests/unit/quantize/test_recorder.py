"""The recorder sees training without touching it; its counts are checked by hand."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from qutils.errors import InvalidInputError
from qutils.numerics import affine
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate
from qutils.quantize.qat import Recorder, finetune
from qutils.quantize.simulate import SimulatedModel
from qutils.quantize.training import Step


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (96,), generator=generator)
    x = torch.randn(96, 4, generator=generator) + y[:, None].float()
    return [(x[i : i + 32], y[i : i + 32]) for i in range(0, 96, 32)]


@pytest.fixture(scope="module")
def start(data) -> SimulatedModel:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    return calibrate(net, data, Recipe(Scheme(3, granularity="per_channel"), Scheme(4)))


def train(start, data, **options):
    settings = {"epochs": 7, "learning_rate": 0.05, "progress": False}
    return finetune(start, data, **{**settings, **options})  # 21 steps


def weight(model: SimulatedModel, name: str) -> torch.Tensor:
    site = model.quantizers[name].site
    (node,) = (n for n in model.graph_module.graph.nodes if n.name == site.node)
    return model.graph_module.get_parameter(node.target)


def test_recording_changes_nothing(start, data):
    recorded = train(start, data, on_step=Recorder(start, score=lambda model: 1.0))
    plain = train(start, data)
    pairs = zip(recorded.state_dict().items(), plain.state_dict().values(), strict=True)
    for (name, a), b in pairs:
        assert torch.equal(a, b), name


def test_it_holds_the_start_and_the_end(start, data):
    recorder = Recorder(start)
    tuned = train(start, data, on_step=recorder)
    first, last = recorder.snapshots[0], recorder.snapshots[-1]
    assert (first.step, last.step) == (0, 21)
    assert list(first.layers) == ["0.weight", "2.weight"]
    for name in first.layers:
        assert torch.equal(first.layers[name].latent, weight(start, name))
        assert torch.equal(last.layers[name].latent, weight(tuned, name))
        assert torch.equal(first.layers[name].q.scale, start.quantizers[name].scale)
        assert not torch.equal(first.layers[name].q.scale, last.layers[name].q.scale)


def test_what_it_shows_is_what_the_network_computes_with(start, data):
    recorder = Recorder(start, layers=["0.weight"])
    tuned = train(start, data, on_step=recorder)
    state = recorder.snapshots[-1].layers["0.weight"]
    quantizer = tuned.quantizers["0.weight"]
    used = quantizer(weight(tuned, "0.weight"))
    assert torch.allclose(affine.dequantize(state.integers, state.q), used)
    assert torch.equal(state.position.round().clamp(-3, 3).int(), state.integers)


@pytest.mark.parametrize("limit", [2, 3, 6, 21, 22, 100])
def test_memory_is_bounded_and_spacing_even(start, data, limit):
    recorder = Recorder(start, layers=["2.weight"], limit=limit)
    train(start, data, on_step=recorder)
    steps = [snapshot.step for snapshot in recorder.snapshots]
    assert len(steps) <= limit
    assert (steps[0], steps[-1]) == (0, 21)
    gaps = [b - a for a, b in pairwise(steps)]
    assert len(set(gaps[:-1])) <= 1
    assert gaps[-1] <= gaps[0]
    assert set(recorder.snapshots[0].layers) == {"2.weight"}


def test_losses_are_means_since_the_snapshot_before(start, data):
    losses: list[float] = []
    recorder = Recorder(start, limit=4)

    def watch(step: Step, model: SimulatedModel) -> None:
        losses.append(step.loss)
        recorder(step, model)

    train(start, data, on_step=watch)
    assert math.isnan(recorder.snapshots[0].loss)
    assert [s.step for s in recorder.snapshots] == [0, 7, 14, 21]
    for index, snapshot in enumerate(recorder.snapshots[1:]):
        assert snapshot.loss == pytest.approx(sum(losses[7 * index : 7 * index + 7]) / 7)


def test_the_score_sees_the_model_in_eval_mode_and_training_goes_on(start, data):
    seen = []
    recorder = Recorder(start, limit=3, score=lambda model: seen.append(model.training) or 5.0)
    train(start, data, on_step=recorder)
    assert seen == [False] * 3
    assert [s.score for s in recorder.snapshots] == [5.0] * 3


def test_moves_and_reversals_by_hand(start):
    """One weight goes up, down, down, up: 4 moves, of which the second and the last turn back."""
    model = copy.deepcopy(start)
    step_of_grid = model.quantizers["0.weight"].scale[0]
    at = weight(model, "0.weight")
    with torch.no_grad():
        at[0, 0] = 0.0
    recorder = Recorder(model, layers=["0.weight"], limit=10)
    for done, change in enumerate((1, -1, -1, 0, 1), start=1):
        with torch.no_grad():
            at[0, 0] += change * step_of_grid
        recorder(Step(done, 5, 0.0), model)
    moves = [s.layers["0.weight"].moves for s in recorder.snapshots]
    reversals = [s.layers["0.weight"].reversals for s in recorder.snapshots]
    assert moves == [0, 1, 2, 3, 3, 4]
    assert reversals == [0, 0, 1, 1, 1, 2]


def test_counts_equal_those_of_a_replay(start, data):
    recorder = Recorder(start, layers=["0.weight"])
    replay = [recorder.snapshots[0].layers["0.weight"].integers]

    def watch(step: Step, model: SimulatedModel) -> None:
        recorder(step, model)
        q = model.quantizers["0.weight"].qparams()
        replay.append(affine.quantize(weight(model, "0.weight").detach(), q))

    train(start, data, on_step=watch)
    changes = torch.stack(replay).diff(dim=0).sign().flatten(1).T.tolist()  # by weight
    moves = [[c for c in row if c] for row in changes]
    state = recorder.snapshots[-1].layers["0.weight"]
    assert state.moves == sum(map(len, moves)) > 0
    turns = sum(a != b for row in moves for a, b in pairwise(row))
    assert state.reversals == turns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["0.wait"]}, "unknown layer '0.wait': did you mean '0.weight'"),
        ({"layers": ["0"]}, "unknown layer '0'"),
        ({"layers": []}, "at least one layer"),
        ({"limit": 1}, "at least 2 snapshots, got limit=1"),
    ],
)
def test_bad_input_is_refused(start, options, message):
    with pytest.raises(InvalidInputError, match=message):
        Recorder(start, **options)
