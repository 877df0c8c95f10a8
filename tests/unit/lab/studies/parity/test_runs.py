"""The comparison itself, on a few pictures: exact where it has to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qutils.lab.results.cache import Cache
from qutils.lab.studies import parity
from qutils.lab.studies.parity import PROFILES, runs


def test_the_simulation_and_onnx_runtime_beside_the_reference(tmp_path, monkeypatch):
    size = replace(
        PROFILES["smoke"], runtimes=("onnxruntime",), pictures=20, layer_pictures=10,
        calibration_pictures=16,
    )  # fmt: skip
    simulated, integer = found = parity.measure(size, Cache(tmp_path, refresh=False))
    assert (simulated.parity.name, simulated.kernels) == ("simulation", ())
    assert integer.parity.output.equal == integer.parity.output.values == 200
    assert integer.parity.departing == ()
    assert len(integer.parity.layers) > 10
    assert integer.parity.layers[0].cumulative.values == 10 * 28 * 28
    assert dict(integer.kernels)["QLinearConv"] == 9

    monkeypatch.setattr(runs, "_measure", None)  # nothing is compared a second time ...
    again = Cache(tmp_path, refresh=False)
    assert parity.measure(size, again) == found
    assert (again.hits, again.misses) == (2, 0)
    monkeypatch.setattr(runs, "isa_flags", lambda: ("another",))
    with pytest.raises(TypeError):  # ... but on another CPU
        parity.measure(size, again)
