from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from qutils.backends.export import export
from qutils.backends.runtimes import load
from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import verify
from qutils.evaluate.analysis.parity import Simulation
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import calibrate
from tests.unit.graph.networks import NETWORKS, observed
from tests.unit.graph.networks.base import Net, linear


@pytest.fixture
def exported(tmp_path):
    """A small network, its file, and a function that loads the file with one weight changed."""
    sim = observed("ten-lines").simulate(Recipe())
    path = export(sim, tmp_path / "net.onnx")

    def spoiled(shape: list[int]):
        model = onnx.load(path)
        weights = [t for t in model.graph.initializer if t.data_type == 3 and len(t.dims) > 1]
        one = next(t for t in weights if list(t.dims) == shape)
        array = onnx.numpy_helper.to_array(one)
        one.CopyFrom(onnx.numpy_helper.from_array(-array, one.name))
        onnx.save(model, tmp_path / "spoiled.onnx")
        return load(tmp_path / "spoiled.onnx")

    return sim, load(path), spoiled


X = NETWORKS["ten-lines"].inputs(8)


def test_a_sound_file_passes(exported):
    sim, runtime, _ = exported
    found = verify(sim, runtime, X, "onnxruntime")
    assert found.passed
    assert found.first is None
    assert found.file_db > 60 > found.quantization_db > 20
    assert str(found).startswith("The file computes what was simulated; file and simulation: ")


def test_the_simulation_equals_itself(exported):
    found = verify(exported[0], Simulation(exported[0]), X)
    assert found.file_db == float("inf")


@pytest.mark.parametrize("spoiled", ["a", "b"])
def test_an_output_of_nan_never_passes(spoiled):
    sim = calibrate(
        Net(lambda net, x: {"a": net.one(x), "b": net.two(x)}, one=linear(4, 2), two=linear(4, 3)),
        torch.randn(8, 4),
    )

    class Spoiled(Simulation):
        def run(self, batch):
            found = super().run(batch)
            return found | {spoiled: np.full_like(found[spoiled], np.nan)}

    assert not verify(sim, Spoiled(sim), torch.randn(4, 4)).passed


@pytest.mark.parametrize("layer", ["0", "4"])
def test_the_first_diverging_layer_is_named(layer, exported):
    sim, _, spoiled = exported
    shape = list(sim.captured.module.get_parameter(f"{layer}.weight").shape)
    found = verify(sim, spoiled(shape), X, "onnxruntime")
    assert not found.passed
    assert found.first is not None
    assert found.first.layer == layer
    assert str(found).startswith(f"First diverging layer: {layer} (")


def test_a_last_layer_with_float_output_is_compared_too(exported):
    sim, _, spoiled = exported
    shape = list(sim.captured.module.get_parameter("8.weight").shape)
    found = verify(sim, spoiled(shape), X, "onnxruntime")
    assert found.first is None
    assert str(found).startswith("What follows the last quantized layer differs; ")


def test_each_output_is_held_to_its_own_quantization_error():
    def forward(net, x):  # the second output is rounded, the first hardly
        y = net.first(x)
        return {"fine": y, "coarse": torch.exp(4 * y)}

    net, x = Net(forward, first=linear(6, 4)), torch.randn(32, 6)
    sim = calibrate(net, x)

    class Spoiled(Simulation):
        def run(self, batch):
            outputs = super().run(batch)
            noise = np.random.default_rng(0).standard_normal(outputs["fine"].shape)
            fine = outputs["fine"] + 0.2 * outputs["fine"].std() * noise.astype(np.float32)
            return {**outputs, "fine": fine}

        def inner(self, batch):
            return None

    whole, spoiled = (verify(sim, one(sim), x) for one in (Simulation, Spoiled))
    assert whole.passed
    assert not spoiled.passed
    assert spoiled.output == "fine"
    assert 13 < spoiled.file_db < 15 < spoiled.quantization_db
    assert f"file and simulation: {spoiled.file_db:.1f} dB of fine on 32 samples" in str(spoiled)


def test_no_samples_and_other_shapes_are_refused(exported):
    sim, runtime, _ = exported
    with pytest.raises(InvalidInputError, match="nothing to compare. Give at least one sample"):
        verify(sim, runtime, X[:0])

    class Short(Simulation):
        def run(self, batch):
            return np.zeros((len(batch), 3), np.float32)

    with pytest.raises(InvalidInputError, match=r"returns \[8, 3\], the simulation \[8, 10\]"):
        verify(sim, Short(sim), X)


def test_a_runtime_that_shows_no_layers_is_said_to(exported):
    class Silent(Simulation):
        def run(self, batch):
            outputs = super().run(batch)
            return outputs + 0.05 * np.abs(outputs).max()

        def inner(self, batch):
            return None

    found = verify(exported[0], Silent(exported[0]), X)
    assert not found.passed
    assert "this runtime shows no layers to compare" in str(found)
