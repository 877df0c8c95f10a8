from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper

pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")

from qutils.analysis.parity import parity
from qutils.errors import DataError, InvalidInputError, UnsupportedError
from qutils.export import export
from qutils.integer import IntegerReference
from qutils.runtimes import openvino as module
from qutils.runtimes.base import RuntimeOptions
from qutils.runtimes.cpu import has_vnni
from qutils.runtimes.openvino import OpenVino
from qutils.schemes import Recipe
from tests.unit.graph.networks import EVERYDAY, JOINS, observed

KINDS = ["conv3x3", "conv1x1", "depthwise", "gemm"]
vnni = pytest.mark.skipif(not has_vnni(), reason="integer kernels saturate without VNNI")
#: Run in a process of its own: oneDNN reads the variable once.
SATURATING = """
import sys
import numpy as np
from qutils.runtimes import openvino as module
from qutils.runtimes.openvino import OpenVino
module.saturates = lambda: True  # what this CPU's flags would say
x, expected = (np.load(sys.argv[2])[name] for name in ("x", "expected"))
for exact in (True, False):
    runtime = OpenVino.load(sys.argv[1], exact=exact)
    integer = any(name.endswith(" u8") for name in runtime.kernels() if "Conv" in name)
    print(float(np.abs(runtime.run(x) - expected).max()), integer)
"""
#: Two are loaded and dropped, the first one first; then Ctrl-C.
INTERRUPTED = """
import faulthandler, os, signal, sys
faulthandler.enable()  # Python's handlers then run on a signal stack of their own
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
from qutils.runtimes.openvino import OpenVino
from qutils.runtimes.signal_stack import signal_stack
before = signal_stack()
one = OpenVino.load(sys.argv[1])
two = OpenVino.load(sys.argv[1])
del one
del two
after = signal_stack()
print(after.address == before.address, after.size == before.size)
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the signal stack of Linux")
def test_ctrl_c_behind_it_interrupts_and_does_not_crash(make_layer):
    run = [sys.executable, "-c", INTERRUPTED, str(make_layer("conv1x1").path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True", "interrupted"]), done


@vnni
@pytest.mark.parametrize("kind", KINDS)
def test_it_equals_exact_integer_arithmetic(make_layer, kind):
    layer = make_layer(kind)
    got = OpenVino.load(layer.path).run(layer.x)
    np.testing.assert_allclose(got, layer.expected, rtol=1e-6, atol=0)


@vnni
@pytest.mark.parametrize(
    ("kind", "kernel"), [("conv3x3", "Convolution u8"), ("gemm", "FullyConnected u8")]
)
def test_integer_kernels_execute(make_layer, kind, kernel):
    counts = OpenVino.load(make_layer(kind).path).kernels()
    assert counts[kernel] == 1
    assert not {"Convolution f32", "FullyConnected f32"} & counts.keys()


def test_the_time_of_each_kind_of_layer_is_counted(make_layer):
    layer = make_layer("conv3x3")
    runtime = OpenVino.load(layer.path)
    spent = runtime.spent(layer.x, runs=3)
    assert any(kind.startswith("Convolution ") for kind in spent)
    assert all(milliseconds > 0 for milliseconds in spent.values())
    assert list(spent.values()) == sorted(spent.values(), reverse=True)
    with pytest.raises(InvalidInputError):
        runtime.spent(layer.x[:, :1], runs=3)


def test_float_layers_count_as_float(tmp_path, save):
    node = helper.make_node("MatMul", ["x", "x"], ["y"])
    path = save(tmp_path / "float.onnx", [node], {"x": [2, 2]}, ["y"])
    assert OpenVino.load(path).kernels() == {"MatMul f32": 1}


@pytest.mark.skipif(not has_vnni(), reason="the instructions to be switched off are missing")
def test_exact_avoids_kernels_that_saturate(make_layer, tmp_path):
    layer = make_layer("conv3x3")
    np.savez(tmp_path / "layer.npz", x=layer.x, expected=layer.expected)
    ran = subprocess.run(
        [sys.executable, "-c", SATURATING, str(layer.path), str(tmp_path / "layer.npz")],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    (exact, in_float), (fast, in_integers) = (line.split() for line in ran.stdout.splitlines())
    assert (in_float, in_integers) == ("False", "True")
    assert float(exact) <= layer.sy * (1 + 1e-6)
    assert float(fast) > 10 * layer.sy


@pytest.mark.parametrize("name", EVERYDAY)
def test_every_network_computes_as_the_reference(name, tmp_path):
    sim = observed(name, "openvino").simulate(Recipe())
    x, reference = EVERYDAY[name].inputs(), IntegerReference(sim)
    assert reference.float_nodes == ()
    got = torch.from_numpy(OpenVino.load(export(sim, tmp_path / "net.onnx")).run(x.numpy()))
    expected, largest = reference(x), float(reference(x).abs().max())
    close = torch.isclose(got, expected, rtol=1e-5, atol=1e-5 * largest)
    if has_vnni():
        assert close.all()
    else:  # exact means float there, where a value at a tie may be rounded to the other side
        assert close.float().mean() > 0.95
        assert (got - expected).abs().max() < 0.01 * largest


@vnni
@pytest.mark.parametrize("name", ["resnet8", "mobilenetv2"])
def test_every_layer_of_the_zoo_computes_as_the_reference(name, tmp_path):
    """The convolution takes the sum in; one value in 100,000 is rounded to the other side."""
    observation = observed(name, "openvino")
    sim = observation.simulate(Recipe())
    runtime = OpenVino.load(export(sim, tmp_path / "net.onnx"))
    x = torch.randn(64, 1, 28, 28)
    found = parity(IntegerReference(sim), runtime, [x], "openvino")
    activations = [site for site in sim.placement.sites.values() if site.role != "weight"]
    assert len(found.layers) == len(activations) >= 11  # no pair behind what passes values on
    assert all(layer.own.share > 99.9 and layer.own.largest <= 1 for layer in found.layers)
    kernels = runtime.kernels()
    assert {k for k in kernels if "Conv" in k or "Fully" in k} == {
        "Convolution u8",
        "FullyConnected u8",
    }
    in_float = [kernel for kernel in kernels.elements() if not kernel.endswith(" u8")]
    assert in_float in (["FakeQuantize f32"], ["Subgraph f32"])  # the input is quantized


@vnni
@pytest.mark.parametrize("name", JOINS)
def test_silu_and_joins_compute_as_the_reference(name, tmp_path):
    sim = observed(name, "openvino").simulate(Recipe())
    runtime = OpenVino.load(export(sim, tmp_path / "net.onnx"))
    x, reference = JOINS[name].inputs(), IntegerReference(sim)
    assert reference.float_nodes == ()
    found = parity(reference, runtime, [x], "openvino")
    assert len(found.layers) >= 3
    assert all(layer.own.share > 99.9 and layer.own.largest <= 1 for layer in found.layers)
    got, expected = torch.from_numpy(runtime.run(x.numpy())), sim(x)
    close = torch.isclose(got, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert close.float().mean() > 0.95  # elsewhere one value was rounded to the other side
    assert (got - expected).abs().max() < 0.01 * expected.abs().max()
    kernels = runtime.kernels()
    assert {k for k in kernels if k.startswith(("Conv", "Fully", "Concat", "Pool"))} <= {
        *("Convolution u8", "FullyConnected u8", "Concatenation u8", "Pooling u8")
    }
    assert kernels["Concatenation u8"] == (name != "silu")


def test_a_sum_needs_no_quantizer_of_its_convolution():
    sums = observed("resnet8", "openvino").placement
    apart = observed("resnet8").placement
    assert len(apart.sites) - len(sums.sites) == 3  # one in each stage


def test_threads_reach_the_plugin(make_layer):
    runtime = OpenVino.load(make_layer("gemm").path, threads=2)
    assert runtime._first.get_property("INFERENCE_NUM_THREADS") == 2
    assert OpenVino.load(runtime.path)._first.get_property("INFERENCE_NUM_THREADS") == 1
    assert runtime._first.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


def test_exact_means_nothing_where_kernels_are_exact(monkeypatch):
    monkeypatch.setattr(module, "saturates", lambda: False)
    settings = [module._settings(RuntimeOptions(exact=exact)) for exact in (True, False)]
    assert settings[0] == settings[1]
    assert "LP_TRANSFORMS_MODE" not in settings[0]


def test_batches_of_any_size_give_the_same(make_layer):
    layer = make_layer("conv3x3")
    runtime = OpenVino.load(layer.path)
    whole = runtime.run(layer.x)
    parts = np.concatenate([runtime.run(layer.x[i : i + 1]) for i in range(len(layer.x))])
    np.testing.assert_array_equal(whole, parts)
    for size in range(3, 10):  # more than stay compiled
        runtime.run(np.repeat(layer.x[:1], size, 0))
    assert len(runtime._compiled) == module._KEPT
    np.testing.assert_array_equal(runtime.run(layer.x), whole)


def test_results_are_kept(make_layer):
    layer = make_layer("gemm")
    runtime = OpenVino.load(layer.path)
    first = runtime.run(layer.x)
    before = first.copy()
    runtime.run(np.zeros_like(layer.x))
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize("keep", [0, 0.5, 0.99], ids=["empty", "half", "tail-lost"])
def test_truncated_file(make_layer, keep):
    path = make_layer("conv3x3").path
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"conv3x3\.onnx is corrupt or truncated \([\d,]+ bytes\)"):
        OpenVino.load(path)


@pytest.fixture
def own(make_layer, tmp_path):
    """A layer, and its file in OpenVINO's own format."""
    import openvino as ov

    layer = make_layer("conv3x3")
    path = tmp_path / "own.xml"
    ov.save_model(ov.convert_model(layer.path), path)
    return layer, path


def test_a_file_of_its_own_format_gives_the_same(own):
    layer, path = own
    runtime, other = OpenVino.load(path), OpenVino.load(layer.path)
    assert np.abs(other.run(layer.x)).max() > 0
    np.testing.assert_array_equal(runtime.run(layer.x), other.run(layer.x))
    assert runtime.input_shape == other.input_shape
    layers = [[k for k in r.kernels() if "Convolution" in k] for r in (runtime, other)]
    assert layers[0] == layers[1] != []
    assert runtime.inner(layer.x) is None
    assert len(other.inner(layer.x)) == 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda xml: xml.with_suffix(".bin").unlink(),
            r"own\.bin is missing: .* beside it",
        ),
        (lambda xml: xml.unlink(), r"own\.xml is missing"),
        (
            lambda xml: xml.write_bytes(xml.read_bytes()[:1000]),
            r"own\.xml is corrupt or truncated",
        ),
    ],
    ids=["no-weights", "no-graph", "truncated"],
)
def test_a_file_of_its_own_format_that_is_not_whole(own, damage, message):
    damage(own[1])
    with pytest.raises(DataError, match=message):
        OpenVino.load(own[1])


def test_file_of_another_kind(tmp_path):
    path = tmp_path / "page.onnx"
    path.write_text("<html>not a model</html>")
    with pytest.raises(DataError, match="corrupt or truncated"):
        OpenVino.load(path)


def test_unknown_operator_is_named(tmp_path, save):
    path = save(tmp_path / "m.onnx", [helper.make_node("Foo", ["x"], ["y"])], {"x": [1]}, ["y"])
    with pytest.raises(UnsupportedError, match=r"cannot run .*m\.onnx.*Foo"):
        OpenVino.load(path)


def test_two_inputs_go_by_name(tmp_path, save):
    node = helper.make_node("Add", ["a", "b"], ["y"])
    runtime = OpenVino.load(save(tmp_path / "m.onnx", [node], {"a": [1], "b": [1]}, ["y"]))
    one, two = np.ones(1, np.float32), np.full(1, 2, np.float32)
    assert runtime.run({"b": two, "a": one}).tolist() == [3]
    with pytest.raises(InvalidInputError, match="m.onnx takes a, b, got one ndarray. Give a dict"):
        runtime.run(one)
    with pytest.raises(UnsupportedError, match="m.onnx takes a, b: one input was expected. Give"):
        runtime.input_shape  # noqa: B018


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 3, 8, 8), np.float32), r"\[1, 3, 8, 8\].*expects \[\?, 32, 8, 8\]"),
        (np.zeros((1, 32, 8, 8)), r"float64.*expects float32.*astype"),
        (np.zeros((0, 32, 8, 8), np.float32), "is empty"),
    ],
    ids=["channels", "dtype", "empty"],
)
def test_wrong_batch(make_layer, batch, message):
    with pytest.raises(InvalidInputError, match=message):
        OpenVino.load(make_layer("conv3x3").path).run(batch)


def test_it_says_what_it_is(make_layer):
    runtime = OpenVino.load(make_layer("gemm").path, threads=2)
    assert (runtime.name, runtime.threads) == ("openvino", 2)
    assert runtime.version.count(".") == 2
    assert runtime.input_shape == (None, 64)
