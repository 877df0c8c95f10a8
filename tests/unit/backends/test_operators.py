"""Operators that backends read differently: torch, simulation, reference and file agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from qutils.backends.export import export
from qutils.backends.runtimes import RUNTIMES, load
from qutils.integer import IntegerReference
from qutils.quantize.calibration import calibrate
from tests.unit.backends.operators import FEW, OPERATORS, SHAPES, SideBySide

INSTALLED = [name for name, entry in RUNTIMES.items() if entry.installed]
#: Their files take long: a program is lowered part by part, or compiled.
SLOW = tuple(name for name in ("executorch", "inductor") if name in INSTALLED)


@torch.no_grad()
def farthest(module: SideBySide, name: str, folder: Path) -> dict[str, dict[str, float]]:
    """How far [largest steps] a file is from each other execution, operator by operator."""
    x = torch.randn(4, *module.shape)
    sim = calibrate(module, x, target=name)
    path = export(sim, folder / f"net{RUNTIMES[name].suffix}")
    file = module.parts(torch.from_numpy(load(path, name).run(x.numpy())))
    reference = IntegerReference(sim)
    step = max(float(q.scale) for q in sim.quantizers.values() if q.site.role != "weight")

    def far(other: Tensor) -> dict[str, float]:
        wanted = module.parts(other)
        return {key: float((file[key] - wanted[key]).abs().max()) / step for key in file}

    return {"torch": far(module(x)), "simulation": far(sim(x)), "reference": far(reference(x))}


def assert_agrees(module: SideBySide, name: str, folder: Path) -> None:
    """One step at the most, for what is halfway between two; the layer itself rounds as well."""
    found = farthest(module.eval(), name, folder)
    for other, allowed in (("torch", 2.6), ("simulation", 1.01), ("reference", 1.01)):
        assert {key: far for key, far in found[other].items() if far > allowed} == {}, other


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize(
    "name",
    [
        name
        if name == "onnxruntime"
        else pytest.param(
            name,
            marks=pytest.mark.slow(
                reason="every form on each backend; the core runs ONNX Runtime's"
            ),
        )
        for name in INSTALLED
        if name not in SLOW
    ],
)
def test_the_file_computes_what_the_network_computes(name, axes, tmp_path):
    assert_agrees(SideBySide(axes), name, tmp_path)


@pytest.mark.slow(reason="lowered or compiled for seconds")
@pytest.mark.parametrize("name", SLOW)
def test_slow_backends_agree_on_one_operator(name, tmp_path):
    assert_agrees(SideBySide(2, ["max, SAME"]), name, tmp_path)


@pytest.mark.nightly(reason="every operator reaches these backends in a form that others test")
@pytest.mark.parametrize("operator", sorted(FEW))
@pytest.mark.parametrize("name", SLOW)
def test_slow_backends_agree_on_each_form(name, operator, tmp_path):
    assert_agrees(SideBySide(OPERATORS[operator][0], [operator]), name, tmp_path)


def test_the_forms_for_slow_backends_are_operators():
    assert not FEW - OPERATORS.keys()
