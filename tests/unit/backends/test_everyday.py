"""Operators of today's networks: the file computes what was simulated, on every backend."""

from __future__ import annotations

import pytest
import torch

from qutils.backends.export import export
from qutils.backends.runtimes import RUNTIMES, load
from qutils.errors import UnsupportedError
from qutils.quantize.calibration import calibrate
from tests.unit.backends.everyday import EVERYDAY, REFUSED, SHAPE, Everyday
from tools.operators import DOCUMENT, state_of, written

FAST = [name for name in ("onnxruntime", "openvino", "litert") if RUNTIMES[name].installed]


SLOW = pytest.mark.slow(reason="every operator on each backend; the core runs ONNX Runtime's")


@pytest.mark.filterwarnings("ignore:Only")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "onnxruntime" else SLOW) for name in FAST]
)
@torch.no_grad()
def test_the_file_computes_what_was_simulated(name, tmp_path):
    torch.manual_seed(0)
    module = Everyday([op for op in EVERYDAY if op not in REFUSED.get(name, {})]).eval()
    x = torch.randn(3, *SHAPE)
    sim = calibrate(module, x, target=name)
    path = export(sim, tmp_path / f"net{RUNTIMES[name].suffix}")
    file = module.parts(torch.from_numpy(load(path, name).run(x.numpy())))
    simulated, wanted = module.parts(sim(x)), module.parts(module(x))
    step = max(float(q.scale) for q in sim.quantizers.values() if q.site.role != "weight")
    for other, allowed in ((simulated, 1.01), (wanted, 4)):
        far = {op: float((file[op] - other[op]).abs().max()) / step for op in file}
        assert {op: steps for op, steps in far.items() if steps > allowed} == {}


@pytest.mark.filterwarnings("ignore:Only")
@pytest.mark.parametrize(
    ("name", "operator"), [(name, op) for name, ops in REFUSED.items() for op in ops]
)
def test_refused_operators_are_named(name, operator, tmp_path):
    if not RUNTIMES[name].installed:
        pytest.skip(f"{name} is not installed")
    module, x = Everyday([operator]).eval(), torch.randn(2, *SHAPE)
    with pytest.raises(UnsupportedError) as error:
        export(calibrate(module, x, target=name), tmp_path / "net.tflite", target=name)
    assert REFUSED[name][operator] in str(error.value)


@pytest.mark.slow(
    reason="captures every operator; the document is made by python -m tools.operators"
)
def test_the_table_says_what_is_placed():
    assert DOCUMENT.read_text(encoding="utf-8") == written(state_of())
