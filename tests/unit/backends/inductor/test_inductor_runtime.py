"""Inductor on files of ours: oneDNN's integer kernels, the reference's numbers, clear refusals."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._inductor.exc import InvalidCxxCompiler

from qutils.backends.export import export
from qutils.backends.inductor import runtime as inductor
from qutils.backends.runtimes import load
from qutils.errors import InvalidInputError, MissingPackageError, UnsupportedError
from qutils.integer import IntegerReference
from qutils.quantize.calibration import calibrate
from tests.unit.graph.networks import Net, conv, linear

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="its int8 kernels are for x86"
)


def some_layers(net: Net, x: Tensor) -> Tensor:
    y = F.relu(net.stem(x))
    y = F.relu6(net.depthwise(y))
    y = torch.cat([F.relu(y + net.inner(y)), y], 1)
    return net.head(F.max_pool2d(y, 2).flatten(1))


@pytest.fixture(scope="module")
def sim():
    torch.manual_seed(0)
    net = Net(
        some_layers,
        stem=conv(1),
        depthwise=conv(8, 8, groups=8),
        inner=conv(8, 8),
        head=linear(256, 10),
    )
    return calibrate(net, torch.randn(64, 1, 8, 8), target="inductor")


@pytest.fixture(scope="module")
def file(sim, tmp_path_factory) -> Path:
    return export(sim, tmp_path_factory.mktemp("pt2") / "net.pt2")


@pytest.fixture(scope="module")
def runtime(file):
    return load(file, "inductor", exact=False)


@pytest.mark.slow
def test_it_computes_as_the_integer_reference_in_integers(sim, runtime):
    torch.manual_seed(1)
    x = torch.randn(inductor.PART + 3, 1, 8, 8)
    got = torch.from_numpy(runtime.run(x.numpy()))
    assert len(runtime._compiled) == 2  # a whole part and the rest
    wanted = IntegerReference(sim)(x)
    assert (wanted.argmax(1) == got.argmax(1)).float().mean() > 0.97
    noise = (wanted - got).square().sum() / wanted.square().sum()
    assert noise < 1e-4  # 40 dB on every CPU: the target's weights cannot overflow
    kernels = runtime.kernels()
    assert (kernels["onednn.qconv_pointwise"], kernels["onednn.qlinear_pointwise"]) == (3, 1)
    assert kernels["quantized.max_pool2d"] == 1
    loops = [name for name in kernels if name.startswith("cpp_fused_")]
    assert len(loops) == len(kernels) - 3 > 0


def test_options_and_shape(file):
    runtime = load(file, "inductor", threads=2)
    assert (runtime.name, runtime.threads, runtime.version) == ("inductor", 2, torch.__version__)
    assert runtime.input_shape == (None, 1, 8, 8)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 3, 8, 8), np.float32), r"\[1, 3, 8, 8\].*expects \[\?, 1, 8, 8\]"),
        (np.zeros((1, 1, 8, 8)), r"float64.*expects float32.*astype"),
        (np.zeros((0, 1, 8, 8), np.float32), "is empty"),
    ],
    ids=["channels", "dtype", "empty"],
)
def test_wrong_batch(runtime, batch, message):
    with pytest.raises(InvalidInputError, match=message):
        runtime.run(batch)


def test_no_compiler_is_said(file, monkeypatch):
    def none() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr(inductor, "get_cpp_compiler", none)
    with pytest.raises(MissingPackageError, match=r"C\+\+ compiler.*g\+\+.*CXX"):
        load(file, "inductor")


def test_other_machines_are_refused(file, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(UnsupportedError, match="need an x86 CPU.*aarch64"):
        load(file, "inductor")
