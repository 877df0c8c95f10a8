"""Networks as people bring them, exported: what executes, and that it computes as simulated."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from qutils.backends.export import export
from qutils.backends.onnxruntime.runtime import FLOAT_OPS
from qutils.backends.runtimes import load
from qutils.integer import IntegerReference
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import calibrate
from tests.unit.graph.networks import (
    EVERYDAY,
    JOINS,
    NETWORKS,
    REFUSED,
    conv,
    linear,
    observed,
)

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
        ("log-softmax-inside", {"LogSoftmax", "Mul"}),
        ("hardswish", {"HardSigmoid", "Mul"}),
        ("hardsigmoid", {"HardSigmoid"}),
    ],
)
def test_only_what_is_allowed_stays_in_float(name, float_ops, tmp_path):
    network = REFUSED[name][0]
    x = network.inputs()
    sim = calibrate(network.make(), x)
    path = export(sim, tmp_path / "net.onnx")
    kernels = load(path).kernels()
    assert kernels.keys() - INTEGER == float_ops | ({"DequantizeLinear"} & kernels.keys())
    assert not (FLOAT_OPS - float_ops) & kernels.keys()
    assert_computes_as_simulated(path, sim, x)


KEPT = {
    "conv2d": (nn.Sequential(conv(3, 6), nn.ReLU(), conv(6, 6), nn.ReLU(), conv(6, 4)), (3, 9, 9)),
    "conv1d": (
        nn.Sequential(nn.Conv1d(3, 6, 3), nn.Sigmoid(), nn.Conv1d(6, 6, 3), nn.Conv1d(6, 4, 3)),
        (3, 20),
    ),
    "linear": (
        nn.Sequential(linear(6, 8), nn.ReLU(), linear(8, 8), nn.ReLU(), linear(8, 3)),
        (6,),
    ),
    "linear-of-sequences": (
        nn.Sequential(linear(6, 8), nn.ReLU(), linear(8, 8), nn.ReLU(), linear(8, 3)),
        (5, 6),
    ),
    "behind-a-reshape": (
        nn.Sequential(conv(3, 2), nn.Flatten(), linear(32, 8), nn.ReLU(), linear(8, 3)),
        (3, 4, 4),
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_layers_kept_in_float_keep_their_weights(name, tmp_path):
    """ONNX Runtime would round weights of a float layer between Dequantize and Quantize."""
    model, shape = KEPT[name]
    x = torch.randn(16, *shape)
    sim = calibrate(model, x, keep_float=["2"])
    runtime = load(export(sim, tmp_path / "net.onnx"))
    in_float = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul"}
    kernels = runtime.kernels()
    assert sum(kernels[op] for op in in_float) == 1
    assert sum(kernels[op] for op in ("QLinearConv", "QGemm", "QLinearMatMul")) == 2
    with torch.no_grad():
        wanted = sim(x)
    equal = torch.isclose(torch.from_numpy(runtime.run(x.numpy())), wanted, rtol=1e-4, atol=1e-5)
    assert equal.float().mean() > 0.95
