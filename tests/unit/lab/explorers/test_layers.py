"""The layers explorer: its numbers are those of a model built and compared anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qutils import zoo
from qutils.evaluate import bench
from qutils.graph.capture import parameters_of
from qutils.lab.explorers.layers import LayersExplorer, recipe_of, weights_sqnr_db
from qutils.lab.explorers.subject import CALIBRATION, zoo_subject
from qutils.lab.figures.explorers.layers import LayersData
from qutils.numerics.observers import OBSERVERS
from qutils.numerics.schemes import GRANULARITIES, MAX_BITS, MIN_BITS
from qutils.quantize.calibration import observe

SETTING = {"weight_bits": 4, "activation_bits": 5, "observer": "percentile"}


@pytest.fixture(scope="module")
def explorer() -> LayersExplorer:
    return LayersExplorer.default()


def db(x: torch.Tensor, y: torch.Tensor) -> float:
    x, y = x.double(), y.double()
    return float(10 * torch.log10(x.square().sum() / (x - y).square().sum()))


def test_choices_come_from_the_registries(explorer):
    options = {control.name: control.options for control in explorer.controls}
    assert options["model"] == tuple(zoo.MODELS)
    assert options["observer"] == tuple(OBSERVERS)
    assert options["granularity"] == GRANULARITIES
    assert options["weight_bits"] == tuple(range(MIN_BITS, MAX_BITS + 1))


def test_accuracy_agreement_and_sqnr_equal_those_of_a_model_built_anew(explorer):
    """Calibrated, simulated and scored without what the explorer keeps."""
    data = zoo.dataset("fashion_mnist")
    net, test = zoo.load("resnet8"), data.test.take(100)
    sim = observe(net, data.calibration.take(CALIBRATION)).simulate(
        recipe_of(4, 5, "percentile", "per_channel")
    )
    x, y = test.prepare(test.images), test.labels.numpy()
    with torch.no_grad():
        before, after = net(x), sim(x)
    numbers = explorer.view(**SETTING).numbers
    assert numbers["top1"] == pytest.approx(100 * (after.argmax(1).numpy() == y).mean())
    assert numbers["fp32"] == pytest.approx(100 * (before.argmax(1).numpy() == y).mean())
    agreement = bench.agreement(before.argmax(1).numpy(), after.argmax(1).numpy())
    assert numbers["agreement"] == pytest.approx(agreement)
    assert numbers["sqnr_db"] == pytest.approx(db(before, after), abs=0.01)


def test_the_bars_are_the_layers_outputs_and_end_at_the_logits(explorer):
    view = explorer.view(**SETTING)
    assert isinstance(view.data, LayersData)
    assert view.data.layers[0] == "input"
    assert view.data.layers[-1] == "classifier"
    assert view.data.outputs[-1] == view.numbers["sqnr_db"]
    assert np.isfinite(view.data.outputs).all()
    worst = view.data.layers[int(view.data.outputs[:-1].argmin())]
    assert view.numbers["lowest_db"] == view.data.outputs[:-1].min()
    assert worst in view.note


def test_the_dots_are_the_rounded_weights_alone():
    subject = zoo_subject("resnet8", 100)
    outcome = subject.outcome(recipe_of(3, 8, "minmax", "per_tensor"))
    found = weights_sqnr_db(subject, outcome)
    weight = parameters_of(subject.observation.captured.module)["stem.0.weight"].detach()
    scale = weight.abs().max() / 3  # 3 bits symmetric: -3..3
    assert found["stem.0"] == pytest.approx(db(weight, (weight / scale).round() * scale), abs=1e-4)
    assert len(found) == 10


def test_more_bits_are_better_in_every_layer(explorer):
    few, many = (explorer.view(weight_bits=b, activation_bits=b).data for b in (3, 8))
    assert (many.outputs[1:] > few.outputs[1:]).all()  # the pixels keep their 8 bits
    assert (many.weights > few.weights)[~np.isnan(few.weights)].all()


def test_every_granularity_has_a_recipe():
    for granularity in GRANULARITIES:
        made = recipe_of(4, 8, "mse", granularity)
        assert made.weights.granularity == granularity
        assert made.label == "W4A8"
