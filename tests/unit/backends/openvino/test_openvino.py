from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper
from torch import nn

pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")

from qutils.backends.export import export
from qutils.backends.openvino import runtime as module
from qutils.backends.openvino.runtime import OpenVino
from qutils.backends.shared.cpu import has_vnni
from qutils.errors import DataError, InvalidInputError, UnsupportedError
from qutils.evaluate.analysis.parity import parity
from qutils.integer import IntegerReference
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import observe
from tests.unit.graph.networks import EVERYDAY, JOINS, observed
from tests.unit.integer.test_saturating import LAYERS, coarse

KINDS = ["conv3x3", "conv1x1", "depthwise", "gemm"]
vnni = pytest.mark.skipif(not has_vnni(), reason="integer kernels saturate without VNNI")
#: Runs in a process of its own: oneDNN reads the variable once. ``saturates`` returns what the
#: flags of such a CPU would say.
WITHOUT_VNNI = """
import sys, warnings
import numpy as np
from qutils.backends.openvino import runtime as module
module.saturates = lambda: True
for name in sys.argv[1:]:
    with warnings.catch_warnings(record=True) as found:
        runtime = module.OpenVino.load(name)
    np.savez(
        name.replace(".onnx", ".out.npz"),
        y=runtime.run(np.load(name.replace(".onnx", ".npy"))),
        warned=" ".join(str(one.message) for one in found),
        kernels=list(runtime.kernels()),
    )
"""


def run_without_vnni(files, isa="AVX2"):
    for path, x in files.items():
        np.save(path.with_suffix(".npy"), x)
    subprocess.run(
        [sys.executable, "-c", WITHOUT_VNNI, *map(str, files)],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": isa},
        cwd=Path(__file__).parents[4],
        check=True,
    )
    return {path: np.load(path.with_suffix(".out.npz")) for path in files}


#: Two are loaded and dropped, the first one first; then Ctrl-C.
INTERRUPTED = """
import faulthandler, os, signal, sys
faulthandler.enable()  # Python's handlers then run on a signal stack of their own
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
from qutils.backends.openvino.runtime import OpenVino
from qutils.backends.openvino.signal_stack import signal_stack
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


@pytest.mark.parametrize(
    ("isa", "names"),
    [
        ("AVX2", ("one channel", "odd", "groups", "depthwise", "linear")),
        pytest.param(
            *("AVX2", tuple(LAYERS)),
            marks=pytest.mark.nightly(reason="every layer; those of each order run daily"),
        ),
        pytest.param(
            *("AVX512_CORE", ("1x1", "stride", "linear")),
            marks=pytest.mark.nightly(reason="its order is that of AVX2 where channels are even"),
        ),
    ],
    ids=["AVX2", "AVX2-all", "AVX512"],
)
def test_without_vnni_it_saturates_as_the_reference_says_and_warns(tmp_path, isa, names):
    """The same layers with weights of the whole range, and with those that cannot overflow."""
    sims, xs = {}, {}
    for name in names:
        layer, shape = LAYERS[name]
        x = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
        kept = observe(nn.Sequential(coarse(layer), nn.ReLU()), [x], "openvino")
        for safe in (False, True):
            path = tmp_path / f"{name} {safe}.onnx"
            sims[path] = kept.simulate(Recipe(saturation_safe=safe))
            xs[export(sims[path], path)] = x.numpy()
    found = run_without_vnni(xs, isa)
    saturated = []
    for path, sim in sims.items():
        y, x = torch.from_numpy(found[path]["y"]), torch.from_numpy(xs[path])
        exact, pairs = (IntegerReference(sim, instructions=i)(x) for i in ("vnni", "avx2"))
        same = torch.isclose(y, pairs, rtol=1e-5).float().mean()
        assert same > 0.99, path  # elsewhere one at a tie is rounded to the other side
        assert (y - pairs).abs().max() < 0.01 * pairs.abs().max(), path
        if not torch.equal(exact, pairs):
            saturated.append(path.stem)
            assert not sim.recipe.saturation_safe
            assert f"{path} may saturate here: this CPU has no VNNI" in str(found[path]["warned"])
        if sim.recipe.saturation_safe:
            assert str(found[path]["warned"]) == ""
        assert any(kernel.endswith(" u8") for kernel in found[path]["kernels"])
    assert len(saturated) >= len(names) - 3  # depthwise layers do not, nor rows of one channel


@pytest.mark.slow(reason="every network again; the core runs each in ONNX Runtime")
@pytest.mark.parametrize("name", EVERYDAY)
def test_every_network_computes_as_the_reference(name, tmp_path):
    sim = observed(name, "openvino").simulate(Recipe())
    x, reference = EVERYDAY[name].inputs(), IntegerReference(sim)
    assert reference.float_nodes == ()
    got = torch.from_numpy(OpenVino.load(export(sim, tmp_path / "net.onnx")).run(x.numpy()))
    expected, largest = reference(x), float(reference(x).abs().max())
    close = torch.isclose(got, expected, rtol=1e-5, atol=1e-5 * largest)
    assert close.float().mean() > 0.95  # elsewhere one value at a tie was rounded to the other side
    assert (got - expected).abs().max() < 0.01 * largest


@pytest.mark.slow(reason="two real networks layer by layer; the core runs single layers")
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
    message = r"conv3x3\.onnx is corrupt or truncated, or no ONNX file \([\d,]+ bytes\)"
    with pytest.raises(DataError, match=message):
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
