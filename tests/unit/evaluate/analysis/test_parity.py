"""Parity: equal where a runtime is exact, and the layer named that departs where one is not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.parity import Differences, Simulation, parity
from qutils.integer import IntegerReference
from qutils.quantize.calibration import calibrate


@pytest.fixture(scope="module")
def sim():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip
    return calibrate(model, pictures(64))


def pictures(n: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, 1, 10, 10, generator=torch.Generator().manual_seed(seed))


def test_an_exact_runtime_is_equal_everywhere(sim, tmp_path):
    runtime = runtimes.load(export(sim, tmp_path / "net.onnx"))
    found = parity(IntegerReference(sim), runtime, pictures(20).split(8), "onnxruntime")
    assert (found.pictures, found.agreement, found.departing) == (20, 100.0, ())
    assert found.output == Differences(60, 60, 0, found.output.signal, 0.0)
    layers = [layer.layer for layer in found.layers]
    assert layers[:4] == ["input", "0", "2", "4"]  # max_pool keeps its grid, and is one of them
    assert all(layer.cumulative.share == layer.own.share == 100 for layer in found.layers)


def test_the_layer_that_departs_is_told_from_those_that_inherit(sim):
    """A bias that is 0.6 output steps off moves most of its layer by one, and nothing else."""
    other = copy.deepcopy(sim)
    step = float(other.quantizers["2"].scale.detach())
    with torch.no_grad():
        dict(other.graph_module.named_parameters())["2.bias"] += 0.6 * step
    found = parity(IntegerReference(sim), Simulation(other), [pictures(40)], "shifted")
    own = {layer.layer: layer.own for layer in found.layers}
    cumulative = {layer.layer: layer.cumulative for layer in found.layers}
    assert own["2"].share < 90  # half of it is clipped at 0
    assert own["2"].largest == 1
    assert all(own[name].share > 99.9 for name in own if name != "2")
    assert cumulative["0"].share > 99.9
    assert cumulative["5"].share < 90
    assert "2" in [layer.layer for layer in found.departing]


def test_batches_add_up(sim):
    reference, simulation = IntegerReference(sim), Simulation(sim)
    x = pictures(30)
    whole = parity(reference, simulation, [x], "a")
    assert parity(reference, simulation, x.split(7), "a") == whole


def test_outputs_alone_take_no_inner_tensors(sim):
    class Plain(Simulation):
        def inner(self, batch):
            raise AssertionError("not asked for")

    found = parity(IntegerReference(sim), Plain(sim), [pictures(8)], "a", layers=False)
    assert found.layers == ()
    assert found.output.largest <= 1


def test_a_runtime_without_inner_tensors_has_no_layers(sim):
    class Closed(Simulation):
        def inner(self, batch):
            return None

    assert parity(IntegerReference(sim), Closed(sim), [pictures(8)], "a").layers == ()


def test_outputs_without_one_class_a_picture():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1))
    placed = calibrate(model, pictures(32))
    reference = IntegerReference(placed)

    class Turned(Simulation):
        """The class of every place of the first picture is another one."""

        def run(self, batch):
            outputs = reference(torch.from_numpy(batch))
            return torch.cat([outputs[:1].roll(1, dims=1), outputs[1:]]).numpy()

    same = parity(reference, Simulation(placed), [pictures(8)], "same", layers=False)
    assert same.agreement > 99
    assert same.execution == "simulated"
    turned = parity(reference, Turned(placed), [pictures(8)], "turned", layers=False)
    assert turned.agreement == pytest.approx(100 * 7 / 8)


def test_one_lsb_is_the_output_step(sim):
    """The float output of the last layer is counted in steps of its accumulator."""
    reference = IntegerReference(sim)

    class Off(Simulation):
        def run(self, batch):
            return (reference(torch.from_numpy(batch)) + 3 * reference.output_step).numpy()

    found = parity(reference, Off(sim), [pictures(8)], "off", layers=False)
    assert (found.output.share, found.output.largest) == (0, 3)


def test_what_cannot_be_compared_is_refused(sim):
    class Other(Simulation):
        def run(self, batch):
            return super().run(batch)[:, :2]

    reference = IntegerReference(sim)
    with pytest.raises(InvalidInputError, match="give at least one batch"):
        parity(reference, Simulation(sim), [], "a")
    with pytest.raises(InvalidInputError, match="compare a file with the model"):
        parity(reference, Other(sim), [pictures(2)], "a")
