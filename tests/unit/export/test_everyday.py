"""Networks as people bring them, exported: what executes, and that it computes as simulated."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from qutils.calibration import calibrate
from qutils.export import export
from qutils.integer import IntegerReference
from qutils.runtimes import load
from qutils.runtimes.onnxruntime import FLOAT_OPS
from qutils.schemes import Recipe
from tests.unit.graph.networks import EVERYDAY, JOINS, NETWORKS, REFUSED, observed

#: Integer kernels, and operators that only move integers.
INTEGER = {
    *("QuantizeLinear", "QLinearConv", "QGemm", "QLinearAdd", "QLinearMul", "QLinearConcat"),
    *("QLinearSigmoid", "QLinearLeakyRelu", "QLinearAveragePool", "QLinearGlobalAveragePool"),
    *("MaxPool", "NhwcMaxPool", "Pad", "Resize", "Reshape", "Transpose", "Slice", "Split"),
    *("Unsqueeze", "Squeeze", "Expand", "DepthToSpace"),
}
#: Arithmetic on shapes, no tensors.
SHAPES = {"Shape", "Gather", "Concat"}


@torch.no_grad()
def assert_computes_as_simulated(path: Path, sim, x: torch.Tensor) -> None:
    """Same classes; a step of the last scale apart at the most, nearly nowhere.

    Torch sums in float: a value at a tie may round to the other side, on one CPU or another.
    """
    got, expected = torch.from_numpy(load(path).run(x.numpy())), sim(x)
    step = [float(q.scale) for q in sim.quantizers.values() if q.site.role != "weight"][-1]
    assert (got.argmax(1) == expected.argmax(1)).float().mean() >= 0.95
    assert (got - expected).abs().max() <= 3 * step
    noise = (got - expected).square().sum() / expected.square().sum()
    assert noise < 1e-4  # 40 dB; the rounding itself costs about as much


@pytest.mark.parametrize("name", [*EVERYDAY, *JOINS])
def test_everything_runs_in_integers(name, tmp_path):
    sim = observed(name).simulate(Recipe())
    path = export(sim, tmp_path / "net.onnx")
    kernels = load(path).kernels()
    assert kernels.keys() - INTEGER - SHAPES <= {"DequantizeLinear"}
    assert kernels["QuantizeLinear"] == 1  # the input
    assert kernels["DequantizeLinear"] <= 1  # the output
    x = NETWORKS[name].inputs()
    assert_computes_as_simulated(path, sim, x)
    reference = IntegerReference(sim)
    assert reference.float_nodes == ()
    assert torch.equal(reference(x), torch.from_numpy(load(path).run(x.numpy())))


@pytest.mark.parametrize("name", ["pad-of-tensorflow", "pad-of-raw-values"])
def test_padding_is_part_of_the_convolution(name, tmp_path):
    path = export(observed(name).simulate(Recipe()), tmp_path / "net.onnx")
    assert "Pad" not in load(path).kernels()
    pads = [
        list(a.ints) for n in onnx.load(path).graph.node for a in n.attribute if a.name == "pads"
    ]
    wanted = {
        "pad-of-tensorflow": [[0, 0, 1, 1]] * 2,
        "pad-of-raw-values": [[1, 1, 1, 1], [3, 1, 0, 2]],
    }
    assert pads == wanted[name]


def test_padding_in_front_of_a_sum_pads_integers(tmp_path):
    sim = observed("shortcut-without-weights").simulate(Recipe())
    assert load(export(sim, tmp_path / "net.onnx")).kernels()["Pad"] == 1


@pytest.mark.parametrize(
    ("name", "float_ops"),
    [
        ("gelu-layer-norm", {"Div", "Erf", "Add", "Mul", "LayerNormalization"}),
        ("log-softmax-inside", {"LogSoftmax"}),
        ("conv-transpose", {"ConvTranspose", "Sum"}),
        ("hardswish", {"HardSigmoid", "Mul"}),
        ("hardsigmoid", {"HardSigmoid"}),
    ],
)
def test_only_what_is_allowed_stays_in_float(name, float_ops, tmp_path):
    network = REFUSED[name][0]
    x = network.inputs()
    sim = calibrate(network.make(), x, allow_float=True)
    path = export(sim, tmp_path / "net.onnx")
    kernels = load(path).kernels()
    assert kernels.keys() - INTEGER == float_ops | ({"DequantizeLinear"} & kernels.keys())
    assert not (FLOAT_OPS - float_ops) & kernels.keys()
    assert_computes_as_simulated(path, sim, x)


def test_weights_kept_in_float_are_not_rounded_by_the_runtime(tmp_path):
    network = REFUSED["conv-transpose"][0]
    x = network.inputs()
    sim = calibrate(network.make(), x, allow_float=True)
    got = torch.from_numpy(load(export(sim, tmp_path / "net.onnx")).run(x.numpy()))
    with torch.no_grad():
        equal = torch.isclose(got, sim(x), rtol=0, atol=1e-5 * float(got.abs().max()))
    assert equal.float().mean() > 0.95  # 0.78 where the runtime rounds them
