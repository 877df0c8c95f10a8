"""ExecuTorch on files of ours: integer kernels, the reference's numbers, clear refusals."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("executorch", reason="the optional runtime ExecuTorch is not installed")

from qutils.backends.executorch.runtime import ExecuTorch
from qutils.backends.export import export
from qutils.backends.runtimes import load
from qutils.errors import DataError, InvalidInputError
from qutils.integer import IntegerReference
from qutils.quantize.calibration import calibrate
from qutils.quantize.convert import convert
from tests.unit.graph.networks import Net, conv, linear

pytestmark = pytest.mark.slow(reason="lowers a network for seconds")
#: Nodes that only change how numbers are held, at the ends and around what XNNPACK cannot do.
CONVERSIONS = {"Convert fp32 to qint8", "Convert qint8 to fp32"}


def of_all_kinds(net: Net, x: Tensor) -> Tensor:
    """What the kernels and the forms of the exporter have to do with, in one file."""
    y = F.relu(net.stem(x))
    y = F.relu6(net.depthwise(F.pad(y, (0, 2, 1, 1))))
    y = y + net.inner(y)
    y = torch.cat([F.max_pool2d(y, 2), net.strided(y)], 1)
    y = F.relu(y[:, 2:] * net.gate(y)[:, 2:])
    return net.head(y.mean((2, 3)))


@pytest.fixture(scope="module")
def sim():
    torch.manual_seed(0)
    net = Net(
        of_all_kinds,
        stem=conv(),
        depthwise=torch.nn.Conv2d(8, 8, 3, groups=8),
        inner=conv(8, 8),
        strided=conv(8, 8, stride=2),
        gate=conv(16, 16, 1),
        head=linear(14, 10),
    )
    return calibrate(net, torch.randn(64, 3, 8, 8), target="executorch")


@pytest.fixture(scope="module")
def file(sim, tmp_path_factory) -> Path:
    return export(sim, tmp_path_factory.mktemp("pte") / "net.pte")


@pytest.fixture(scope="module")
def x() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(200, 3, 8, 8)


def test_it_computes_as_the_integer_reference(sim, file, x):
    reference = IntegerReference(sim)
    wanted, got = reference(x), torch.from_numpy(load(file, "executorch").run(x.numpy()))
    steps = torch.round((wanted - got) / reference.output_step).abs()
    assert steps.max() <= 1
    assert (steps == 0).float().mean() > 0.97
    assert (wanted.argmax(1) == got.argmax(1)).float().mean() > 0.99


def test_every_layer_is_an_integer_kernel(file):
    kernels = load(file, "executorch").kernels()
    nodes = {name for name in kernels if not name.startswith(("aten::", "dim_order_ops::"))}
    assert all(name.endswith(" qint8") for name in nodes - CONVERSIONS), kernels
    counts = [kernels[f"{op} qint8"] for op in ("Conv2d", "DepthwiseConv2d", "Add", "Multiply")]
    assert counts == [4, 1, 1, 1]
    assert kernels["FullyConnected qint8"] == kernels["GlobalAvgPooling2d qint8"] == 1
    assert kernels["Concatenate2 qint8"] == kernels["StaticConstantPad qint8"] == 1
    assert kernels["aten::slice_copy.Tensor_out"] == 2
    assert not [n for n in kernels if "convolution" in n or "linear" in n or "quantize" in n]


def test_weights_are_stored_as_bytes(sim, file):
    program = file.read_bytes()
    module = convert(sim)
    weights = {name: value for name, value in module.named_buffers() if value.dtype is torch.int8}
    assert len(weights) == 6
    for name, value in weights.items():
        array = value.numpy()
        if array.ndim == 4 and array.shape[1] == 1:  # depthwise: channels last
            array = array.transpose(1, 2, 3, 0)
        elif array.ndim == 4:
            array = array.transpose(0, 2, 3, 1)
        assert np.ascontiguousarray(array).tobytes() in program, name


def test_batches_of_any_size_and_layout(file, x):
    runtime = load(file, "executorch")
    whole = runtime.run(x.numpy())
    assert runtime.input_shape == (None, 3, 8, 8)
    assert np.array_equal(runtime.run(x[:1].numpy()), whole[:1])
    backwards = x.numpy()[::-1]
    backwards.flags.writeable = False
    assert np.array_equal(runtime.run(backwards), whole[::-1])
    last = np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(runtime.run(last), whole)


def test_runtimes_with_other_threads_take_turns(file, x):
    one, two = (load(file, "executorch", threads=n) for n in (1, 2))
    batch = x[:8].numpy()
    wanted = one.run(batch)
    for _ in range(3):
        assert np.array_equal(two.run(batch), wanted)
        assert np.array_equal(one.run(batch), wanted)
    assert (one.threads, two.threads) == (1, 2)


def test_it_says_what_it_is(file):
    runtime = load(file, "executorch", threads=2)
    assert isinstance(runtime, ExecuTorch)
    assert runtime.version[0].isdigit()
    assert runtime.inner(np.zeros((1, 3, 8, 8), np.float32)) is None


@pytest.mark.parametrize("keep", [0, 0.01, 0.5, 0.99], ids=["empty", "header", "half", "tail-lost"])
def test_truncated_file(file, tmp_path, keep):
    path, data = tmp_path / "cut.pte", file.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"cut\.pte is corrupt or truncated \([\d,]+ bytes\)"):
        load(path, "executorch")


def test_file_of_another_kind(tmp_path):
    path = tmp_path / "page.pte"
    path.write_text("<html>not a model</html>" * 50)
    with pytest.raises(DataError, match="not a whole ExecuTorch program"):
        load(path, "executorch")


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 1, 8, 8), np.float32), r"\[1, 1, 8, 8\].*expects \[\?, 3, 8, 8\]"),
        (np.zeros((3, 8, 8), np.float32), r"\[3, 8, 8\].*expects \[\?, 3, 8, 8\]"),
        (np.zeros((1, 3, 8, 8)), r"float64.*expects float32.*astype"),
        (np.zeros((0, 3, 8, 8), np.float32), "is empty"),
        ([[1.0]], "is a list"),
    ],
    ids=["channels", "rank", "dtype", "empty", "list"],
)
def test_wrong_batch(file, batch, message):
    with pytest.raises(InvalidInputError, match=message):
        load(file, "executorch").run(batch)


def test_it_says_nothing_where_notebooks_listen(file):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        for threads in (2, 1):
            ExecuTorch.load(file, threads=threads)
    assert said.getvalue() == ""
