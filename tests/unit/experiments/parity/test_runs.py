"""The comparison itself, on a few pictures: exact where it has to be."""

from __future__ import annotations

from dataclasses import replace

from qutils.experiments import parity
from qutils.experiments.parity import PROFILES


def test_the_simulation_and_onnx_runtime_beside_the_reference():
    size = replace(
        PROFILES["smoke"], runtimes=("onnxruntime",), pictures=20, layer_pictures=10,
        calibration_pictures=16,
    )  # fmt: skip
    simulated, integer = parity.measure(size)
    assert (simulated.parity.name, simulated.kernels) == ("simulation", ())
    assert integer.parity.output.equal == integer.parity.output.values == 200
    assert integer.parity.departing == ()
    assert len(integer.parity.layers) > 10
    assert integer.parity.layers[0].cumulative.values == 10 * 28 * 28
    assert dict(integer.kernels)["QLinearConv"] == 9
