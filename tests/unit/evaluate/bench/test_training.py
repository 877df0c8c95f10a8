from __future__ import annotations

import math

import pytest
import torch

from qutils import zoo
from qutils.errors import InvalidInputError
from qutils.evaluate.bench import training
from qutils.evaluate.bench.process import TRAINING_ENVIRONMENT, Outcome
from qutils.numerics.schemes import Recipe, Scheme

W4A4 = Recipe(Scheme(4, granularity="per_channel"), Scheme(4))


@pytest.fixture
def batch():
    return next(iter(zoo.dataset("fashion_mnist").train.batches(8)))


def test_float_step_trains_with_batch_norm(batch):
    pictures, labels = batch
    step = training.float_step("resnet8", labels)
    norms = [m for m in step.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [m.running_mean.clone() for m in norms]
    weights = [p.detach().clone() for p in step.model.parameters()]
    step.run(pictures.numpy())
    assert norms
    assert all(m.training for m in norms)
    assert all((m.running_mean != b).any() for m, b in zip(norms, before, strict=True))
    assert all((p != w).any() for p, w in zip(step.model.parameters(), weights, strict=True))
    assert math.isfinite(step.loss)


def test_qat_step_trains_weights_and_ranges_and_learns(batch):
    pictures, labels = batch
    step = training.qat_step(training.calibrated("resnet8", W4A4), labels)
    names = dict(step.model.named_parameters())
    before = {name: p.detach().clone() for name, p in names.items()}
    step.run(pictures.numpy())
    first = step.loss
    moved = {name for name, p in names.items() if (p != before[name]).any()}
    assert any(name.endswith(".scale") for name in moved)
    assert any(not name.endswith((".scale", ".zero_point")) for name in moved)
    for _ in range(10):
        step.run(pictures.numpy())
    assert step.loss < first


def test_both_steps_are_timed_in_an_environment_for_training(monkeypatch):
    """The real measurement, in this process instead of a fresh one."""
    orders = []

    def call_here(function, *args, environment):
        orders.append((function, environment))
        return Outcome(training.time_steps(*args), imports_mib=0, peak_mib=0)

    monkeypatch.setattr(training, "call_fresh", call_here)
    threads = torch.get_num_threads()
    found = training.training_steps("resnet8", batch=4, repeats=5)
    torch.set_num_threads(threads)
    assert orders == [("qutils.evaluate.bench.training:time_steps", TRAINING_ENVIRONMENT)]
    assert (found.model, found.label) == ("resnet8", "W4A4")
    for latency in (found.fp32, found.qat):
        assert (latency.repeats, latency.batch, latency.threads) == (5, 4, 1)
        assert latency.median_ms > 0
    assert 0 < found.ratio.low <= found.ratio.median <= found.ratio.high


def test_bad_settings_are_told_before_any_process_starts(monkeypatch):
    monkeypatch.setattr(training, "call_fresh", None)
    with pytest.raises(InvalidInputError, match="did you mean 'resnet8'"):
        training.training_steps("resnet9")
    with pytest.raises(InvalidInputError, match="bits must be"):
        training.training_steps("resnet8", bits=9)
