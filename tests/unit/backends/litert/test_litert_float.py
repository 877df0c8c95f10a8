"""Files for LiteRT with operators in float: they compute as simulated, or are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qutils.backends.export import export
from qutils.backends.runtimes import load
from qutils.errors import UnsupportedError
from qutils.quantize.calibration import calibrate
from qutils.quantize.simulate import SimulatedModel
from tests.unit.backends.litert.executing import computing
from tests.unit.graph.networks import REFUSED, Net, Network, conv, linear
from tests.unit.graph.networks.base import head_on

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")

HEAD = Network(  # every operator of the head has an integer kernel too
    lambda: Net(
        lambda net, x: net.last(net.head(net.body(x))),
        body=nn.Sequential(conv(), nn.ReLU()),
        head=nn.Sequential(
            *(conv(8, 8, groups=8), nn.ReLU6(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)),
            *(nn.LeakyReLU(0.1), nn.Sigmoid(), nn.Flatten(), linear(32, 6)),
        ),
        last=linear(6),
    )
)
#: Its operators in a file, ``int8`` or ``float32``.
OF_BODY = {"CONV_2D"}
OF_HEAD = {"DEPTHWISE_CONV_2D", "MAX_POOL_2D", "LEAKY_RELU", "LOGISTIC", "FULLY_CONNECTED"}


def decode(net: Net, x: Tensor) -> Tensor:
    """What detectors do behind the last layer: exponents, differences, products with numbers."""
    a, b = net.conv(x).chunk(2, 1)
    parts = [torch.exp(a) / (2 + torch.tanh(b)), b - 0.5, F.hardswish(a) * 2.0, b - a]
    return torch.cat(parts, 1).permute(0, 2, 3, 1).flatten(1, 2)


@torch.no_grad()
def apart(sim: SimulatedModel, path: Path, x: Tensor) -> Tensor:
    """How far the file's outputs lie from the simulation's, relative to the largest."""
    expected = sim(x)
    got = torch.from_numpy(load(export(sim, path), "litert").run(x.numpy()))
    assert got.shape == expected.shape
    return (got - expected).abs() / expected.abs().max()


@pytest.mark.parametrize(
    ("network", "in_float"),
    [
        (head_on(lambda net, x: net.conv(x).exp()), {"EXP"}),
        (head_on(lambda net, x: net.conv(x) / (net.conv(x).relu() + 1)), {"DIV", "ADD"}),
        (REFUSED["gelu-layer-norm"][0], {"GELU", "MEAN", "SUB", "MUL", "ADD", "RSQRT"}),
    ],
    ids=["exp", "quotient", "gelu-layer-norm"],
)
def test_operators_without_integer_kernel_compute_as_simulated(network, in_float, tmp_path):
    x = network.inputs()
    sim = calibrate(network.make(), x, target="litert")
    path = tmp_path / "net.tflite"
    assert apart(sim, path, x).max() < 1e-6
    kernels = load(path, "litert").kernels()
    assert computing(kernels, "float32") == in_float
    assert {"CONV_2D", "FULLY_CONNECTED"} & computing(kernels, "int8")


def test_what_decodes_the_last_layer_computes_in_float_up_to_the_end(tmp_path):
    network = Network(lambda: Net(decode, conv=conv()))
    x = network.inputs()
    sim = calibrate(network.make(), x, target="litert", keep_float=["cat"])
    path = tmp_path / "net.tflite"
    assert apart(sim, path, x).max() < 1e-6
    arithmetic = {"EXP", "DIV", "ADD", "TANH", "SUB", "HARD_SWISH", "MUL", "CONCATENATION"}
    assert arithmetic <= computing(load(path, "litert").kernels(), "float32")


@pytest.mark.parametrize(
    ("kept", "in_float", "in_integers"),
    [
        (["head"], OF_HEAD, OF_BODY | {"FULLY_CONNECTED"}),
        (["head", "last"], OF_HEAD, OF_BODY),
        (["body"], OF_BODY, OF_HEAD),
        (["body", "head", "last"], OF_BODY | OF_HEAD, set()),
    ],
    ids=["in-the-middle", "to-the-end", "from-the-start", "all"],
)
def test_modules_kept_in_float_compute_as_simulated(kept, in_float, in_integers, tmp_path):
    x = HEAD.inputs()
    sim = calibrate(HEAD.make(), x, target="litert", keep_float=kept)
    path = tmp_path / "net.tflite"
    assert apart(sim, path, x).max() < 1e-6
    kernels = load(path, "litert").kernels()
    layers = OF_BODY | OF_HEAD
    assert computing(kernels, "float32") & layers == in_float
    assert computing(kernels, "int8") & layers == in_integers


def test_any_batch_size_gives_the_same(tmp_path):
    x = HEAD.inputs(5)
    sim = calibrate(HEAD.make(), x, target="litert", keep_float=["head", "last"])
    runtime = load(export(sim, tmp_path / "net.tflite"), "litert")
    whole = torch.from_numpy(runtime.run(x.numpy()))
    parts = [torch.from_numpy(runtime.run(part.numpy())) for part in x.split(2)]
    assert torch.allclose(whole, torch.cat(parts), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bn-last", r"aten\.\w*batch_norm\w* in module '2': the exporter has no kernel"),
        ("add-alpha", r"aten\.add in module 'add': not with {'alpha': 2}"),
    ],
)
def test_what_has_no_float_kernel_is_refused_before_writing(name, message, tmp_path):
    network = REFUSED[name][0]
    x = network.inputs()
    sim = calibrate(network.make(), x, target="litert")
    path = tmp_path / "net.tflite"
    path.write_bytes(b"earlier")
    with pytest.raises(UnsupportedError, match=f"LiteRT cannot run {message}"):
        export(sim, path)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]
