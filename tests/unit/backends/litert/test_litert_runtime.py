from __future__ import annotations

import numpy as np
import pytest
import torch

from qutils.backends.export import export
from qutils.backends.litert import tflite
from qutils.backends.litert.tflite import FlatModel, Grid
from qutils.errors import DataError, InvalidInputError, UnsupportedError
from qutils.evaluate.analysis.parity import parity
from qutils.integer import IntegerReference
from qutils.numerics import affine
from qutils.numerics.exact.arithmetic import (
    conv_accumulate,
    fixed_point_multiplier,
    requantize,
    requantize_fixed_point,
)
from qutils.numerics.schemes import Recipe
from tests.unit.graph.networks import NETWORKS, observed

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qutils.backends.litert.runtime import LiteRT


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Simulated model of convolutions, a sum and linear layers, its file, and pictures."""
    sim = observed("inplace-add", "litert").simulate(Recipe())
    path = export(sim, tmp_path_factory.mktemp("litert") / "net.tflite")
    return sim, path, NETWORKS["inplace-add"].inputs()


def test_any_batch_size_gives_the_same(made):
    _, path, x = made
    runtime = LiteRT.load(path)
    whole = runtime.run(x.numpy())
    assert whole.shape == (32, 4)
    for size in (1, 5, 32, 2):
        parts = [runtime.run(part.numpy()) for part in torch.split(x, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_results_are_the_callers_own(made):
    _, path, x = made
    runtime = LiteRT.load(path)
    first = runtime.run(x[:1].numpy())
    kept = first.copy()
    runtime.run(x[1:2].numpy())
    np.testing.assert_array_equal(first, kept)


def test_layouts_that_are_not_contiguous_are_taken(made):
    _, path, x = made
    runtime = LiteRT.load(path)
    turned = x.contiguous(memory_format=torch.channels_last).numpy()
    assert not turned.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(runtime.run(turned), runtime.run(x.numpy()))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_exact_change_nothing(made, threads):
    _, path, x = made
    runtime = LiteRT.load(path, threads=threads, exact=False)
    assert (runtime.threads, runtime.options.exact) == (threads, False)
    np.testing.assert_array_equal(runtime.run(x.numpy()), LiteRT.load(path).run(x.numpy()))


def test_kernels_say_type_and_delegate(made):
    kernels = LiteRT.load(made[1]).kernels()
    assert kernels["CONV_2D int8 (XNNPACK)"] == 2
    assert kernels["FULLY_CONNECTED int8 (XNNPACK)"] == kernels["ADD int8 (XNNPACK)"] == 1
    assert {k for k in kernels if "float32" in k} == {"DEQUANTIZE float32 (XNNPACK)"}


def test_kernels_outside_the_delegate_are_told_apart(tmp_path):
    sim = observed("raw-and-relu", "litert").simulate(Recipe())
    kernels = LiteRT.load(export(sim, tmp_path / "net.tflite")).kernels()
    assert kernels["RELU int8"] == 1
    assert "RELU int8 (XNNPACK)" not in kernels
    assert kernels["CONV_2D int8 (XNNPACK)"] == 1  # in front of it
    assert kernels["FULLY_CONNECTED int8 (XNNPACK)"] == 1  # behind it


def test_a_float_file_does_not_pass_for_integers(tmp_path):
    flat = FlatModel()
    x = flat.tensor((1, 4), "float32", name="input", open_axis=0)
    w, b = (flat.constant(np.ones(shape, np.float32)) for shape in ((3, 4), (3,)))
    y = flat.tensor((1, 3), "float32", name="output", open_axis=0)
    flat.operator("FULLY_CONNECTED", (x, w, b), y, "FullyConnectedOptions")
    path = tmp_path / "float.tflite"
    path.write_bytes(flat.to_bytes([x], [y]))
    runtime = LiteRT.load(path)
    assert runtime.kernels() == {"FULLY_CONNECTED float32 (XNNPACK)": 1}
    assert runtime.inner(np.ones((2, 4), np.float32)) == ()
    np.testing.assert_array_equal(runtime.run(np.ones((2, 4), np.float32)), np.full((2, 3), 5.0))


# Inner tensors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["inplace-add", "series", "squeeze-expand", "shuffle"])
def test_inner_tensors_are_those_of_the_run_in_the_order_of_axes_of_the_graph(name, tmp_path):
    sim, x = observed(name, "litert").simulate(Recipe()), NETWORKS[name].inputs()
    runtime = LiteRT.load(export(sim, tmp_path / "net.tflite"))
    inner = runtime.inner(x.numpy())
    q = sim.quantizers["input"].qparams()
    assert inner[0].scale == float(q.scale)
    integers = affine.quantize(x, q).numpy() - 128
    np.testing.assert_array_equal(inner[0].integers, integers)
    last = inner[-1]
    logits = (last.integers - last.zero_point).astype(np.float32) * np.float32(last.scale)
    np.testing.assert_array_equal(logits, runtime.run(x.numpy()))
    found = parity(IntegerReference(sim), runtime, [x], "litert")
    activations = [s for s in sim.placement.sites.values() if s.role != "weight"]
    assert len(found.layers) >= len(activations)
    assert min(layer.own.share for layer in found.layers) >= 99
    assert {layer.op for layer in found.departing} <= {"add"}


def layer(resolver: OpResolverType, w: torch.Tensor, x: torch.Tensor, scale: float) -> np.ndarray:
    """What a convolution of integers gives, of scales 0.1, 0.1 and ``scale``, zero points 0."""
    flat = FlatModel()
    size = tuple(x.permute(0, 2, 3, 1).shape)
    source = flat.tensor(size, "int8", Grid((0.1,)), name="input")
    weights = flat.constant(w.permute(0, 2, 3, 1).numpy(), Grid((0.1,)))
    bias = flat.constant(np.zeros(len(w), np.int32), Grid((float(np.float32(0.1) ** 2),)))
    result = flat.tensor((*size[:3], len(w)), "int8", Grid((scale,)), name="output")
    places = {"padding": 1, "strideH": 1, "strideW": 1}
    flat.operator("CONV_2D", (source, weights, bias), result, "Conv2DOptions", **places)
    interpreter = Interpreter(
        model_content=flat.to_bytes([source], [result]), experimental_op_resolver_type=resolver
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(source, x.permute(0, 2, 3, 1).contiguous().numpy())
    interpreter.invoke()
    found: np.ndarray = interpreter.get_tensor(result).transpose(0, 3, 1, 2)
    return found


def test_xnnpack_rounds_in_float_and_the_builtin_kernels_in_fixed_point():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-128, 128, (1, 16, 64, 64), generator=generator, dtype=torch.int8)
    w = torch.randint(-127, 128, (8, 16, 1, 1), generator=generator, dtype=torch.int8)
    acc = conv_accumulate(x, 0, w)
    scale = 32.0
    m = torch.tensor(0.1) * torch.tensor(0.1) / torch.tensor(scale)
    in_float = requantize(acc, m, 0, -128, 127).numpy()
    in_fixed_point = requantize_fixed_point(acc, fixed_point_multiplier(m), 0, -128, 127).numpy()
    delegated, own = (
        layer(resolver, w, x, scale)
        for resolver in (OpResolverType.AUTO, OpResolverType.BUILTIN_REF)
    )
    assert np.array_equal(delegated, in_float)
    assert np.array_equal(own, in_fixed_point)


def test_sums_do_not_saturate(tmp_path):
    """All inputs and weights at their extremes: 64,770 a pair of products, beyond 16 bits."""
    x = torch.full((1, 32, 4, 4), 127, dtype=torch.int8)
    w = torch.full((8, 32, 1, 1), 127, dtype=torch.int8)
    y = layer(OpResolverType.AUTO, w, x, 0.01 * 127 * 127 * 32 / 100)
    assert (y == 100).all()


# Errors -------------------------------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"absent\.tflite is missing"):
        LiteRT.load(tmp_path / "absent.tflite")


@pytest.mark.parametrize("keep", [0, 0.5, 0.99], ids=["empty", "half", "tail-lost"])
def test_truncated_file(made, keep, tmp_path):
    data = made[1].read_bytes()
    path = tmp_path / "net.tflite"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"net\.tflite is corrupt or truncated \([\d,]+ bytes\)"):
        LiteRT.load(path)


def test_an_operator_of_a_newer_version_is_not_supported(tmp_path, monkeypatch):
    monkeypatch.setitem(tflite._VERSIONS, "RELU", 99)
    flat = FlatModel()
    x = flat.tensor((1, 4), "int8", Grid((0.1,)), name="input")
    y = flat.tensor((1, 4), "int8", Grid((0.1,)), name="output")
    flat.operator("RELU", (x,), y)
    path = tmp_path / "m.tflite"
    path.write_bytes(flat.to_bytes([x], [y]))
    with pytest.raises(UnsupportedError, match=r"cannot run .*'RELU' version '99'"):
        LiteRT.load(path)


def test_file_of_another_kind(tmp_path):
    path = tmp_path / "page.tflite"
    path.write_text("<html>not a model</html>")
    with pytest.raises(DataError, match="corrupt or truncated"):
        LiteRT.load(path)


def test_a_setting_without_kernel_is_explained(tmp_path):
    flat = FlatModel()
    x = flat.tensor((1, 4), "int8", Grid((0.1,)), name="input")
    y = flat.tensor((1, 4), "int8", Grid((0.1,)), name="output")
    w = flat.tensor((1, 4), "float32", name="between")
    flat.operator("DEQUANTIZE", (x,), w, "DequantizeOptions")
    flat.operator("CONCATENATION", (x, w), y, "ConcatenationOptions", axis=1)
    path = tmp_path / "m.tflite"
    path.write_bytes(flat.to_bytes([x], [y]))
    with pytest.raises(UnsupportedError, match=r"LiteRT [\d.]+ cannot run .*m\.tflite"):
        LiteRT.load(path)


def test_two_inputs_go_by_name(tmp_path):
    flat = FlatModel()
    a, b, y = (flat.tensor((1, 4), "float32", name=name) for name in "aby")
    flat.operator("ADD", (a, b), y, "AddOptions")
    path = tmp_path / "m.tflite"
    path.write_bytes(flat.to_bytes([a, b], [y]))
    runtime = LiteRT.load(path)
    one, two = np.ones((1, 4), np.float32), np.full((1, 4), 2, np.float32)
    assert runtime.run({"b": two, "a": one}).tolist() == [[3] * 4]
    with pytest.raises(UnsupportedError, match="m.tflite takes a, b: one input was expected. Give"):
        runtime.input_shape  # noqa: B018


def test_fixed_batch_size_is_explained(tmp_path):
    flat = FlatModel()
    x, y = (flat.tensor((1, 4), "float32", name=name) for name in "xy")
    flat.operator("RELU", (x,), y)
    path = tmp_path / "m.tflite"
    path.write_bytes(flat.to_bytes([x], [y]))
    with pytest.raises(InvalidInputError, match="batch size is fixed at 1"):
        LiteRT.load(path).run(np.zeros((2, 4), np.float32))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), r"\[1, 8, 8, 3\].*expects \[\?, 3, 8, 8\]"),
        (np.zeros((3, 8, 8), np.float32), r"\[3, 8, 8\].*expects \[\?, 3, 8, 8\]"),
        (np.zeros((1, 3, 8, 8)), r"float64.*expects float32.*astype"),
        (np.zeros((0, 3, 8, 8), np.float32), "is empty"),
        ([[1.0]], "is a list"),
    ],
    ids=["channels-last", "rank", "dtype", "empty", "list"],
)
def test_wrong_batch(made, batch, message):
    with pytest.raises(InvalidInputError, match=message):
        LiteRT.load(made[1]).run(batch)


def test_a_refused_batch_leaves_the_runtime_usable(made):
    _, path, x = made
    runtime = LiteRT.load(path)
    before = runtime.run(x.numpy())
    with pytest.raises(InvalidInputError):
        runtime.run(x.numpy()[:, :2])
    np.testing.assert_array_equal(runtime.run(x.numpy()), before)


def test_it_says_what_it_is(made):
    runtime = LiteRT.load(made[1], threads=2)
    assert (runtime.name, runtime.threads) == ("litert", 2)
    assert runtime.version[0].isdigit()
    assert runtime.input_shape == (None, 3, 8, 8)


def test_loading_is_silent(made, capfd):
    LiteRT.load(made[1])
    assert capfd.readouterr() == ("", "")
