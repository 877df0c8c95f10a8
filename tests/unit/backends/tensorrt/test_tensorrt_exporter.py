from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, numpy_helper

from qutils import zoo
from qutils.backends.export import export
from qutils.backends.tensorrt.rules import SLOWER, check
from qutils.errors import UnsupportedError
from qutils.integer import IntegerReference
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import observe
from tests.unit.graph.networks import NETWORKS

#: Each reaches another part of placement or exporter.
EXPORTED = (
    *("linear-3d", "conv1d", "many-things", "concat", "squeeze-excite", "raw-and-relu"),
    *("shortcut-without-weights", "pre-activation", "shuffle-unit", "encoder-decoder"),
)
#: As many layers with weights as the network has.
WEIGHTED = {"resnet8": 10, "mobilenetv2": 20}


def simulated(name: str, recipe: Recipe | None = None):
    network = NETWORKS[name]
    return observe(network.make(), network.inputs(), "tensorrt").simulate(recipe or Recipe())


@pytest.fixture(scope="module", params=WEIGHTED)
def trained(request, tmp_path_factory):
    """Name, simulated model, file and test pictures of a trained model."""
    data = zoo.dataset("fashion_mnist")
    pictures = zoo.normalize(data.calibration.images[:64])
    sim = observe(zoo.load(request.param), pictures, "tensorrt").simulate(Recipe())
    path = export(sim, tmp_path_factory.mktemp("trained") / "model.onnx")
    return request.param, sim, path, zoo.normalize(data.test.images[:256])


@pytest.mark.parametrize("name", EXPORTED)
def test_networks_keep_the_rules(name, tmp_path):
    path = export(simulated(name), tmp_path / "net.onnx")
    assert [str(violation) for violation in check(path)] == []


@pytest.mark.slow(reason="real networks; the core checks small ones with the same operators")
def test_the_zoo_keeps_the_rules(trained):
    assert check(trained[2]) == ()


def test_a_file_for_onnxruntime_does_not(tmp_path):
    network = NETWORKS["ten-lines"]
    sim = observe(network.make(), network.inputs()).simulate(Recipe())
    path = export(sim, tmp_path / "net.onnx", target="onnxruntime")
    assert {v.rule for v in check(path)} == {"int8", "zero-point", "float-bias"}


def test_weights_are_int8_and_biases_float(trained):
    name, _, path, _ = trained
    model = onnx.load(path)
    stored = {t.name: t for t in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    layers = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    assert len(layers) == WEIGHTED[name]
    for layer in layers:
        weight = made_by[layer.input[1]]
        assert weight.op_type == "DequantizeLinear"
        assert stored[weight.input[0]].data_type == TensorProto.INT8
        assert stored[layer.input[2]].data_type == TensorProto.FLOAT
    large = [t for t in stored.values() if t.data_type == TensorProto.FLOAT and len(t.dims) > 1]
    assert not large


def test_scales_and_biases_are_those_of_the_simulation(trained):
    _, sim, path, _ = trained
    stored = [numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer]
    floats = {t.tobytes() for t in stored if t.dtype == np.float32}
    for quantizer in sim.quantizers.values():
        assert quantizer.qparams().scale.detach().numpy().tobytes() in floats
        assert int(quantizer.qparams().zero_point.abs().max()) == 0
    biases = [p for name, p in sim.graph_module.named_parameters() if name.endswith("bias")]
    assert all(bias.detach().numpy().tobytes() in floats for bias in biases)


def test_a_sum_takes_in_the_convolution_and_a_quantized_tensor(trained):
    """Nothing between the convolution and the sum, Dequantize in front of the other input."""
    model = onnx.load(trained[2])
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    sums = [Counter(made_by[x] for x in n.input) for n in model.graph.node if n.op_type == "Add"]
    assert sums
    assert all(found == {"Conv": 1, "DequantizeLinear": 1} for found in sums)


def test_activations_stand_between_layer_and_quantizer(trained):
    model = onnx.load(trained[2])
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    activations = [n for n in model.graph.node if n.op_type in ("Relu", "Clip")]
    assert activations
    assert {made_by[n.input[0]] for n in activations} <= {"Conv", "Add"}


@torch.no_grad()
def test_the_integer_reference_computes_what_is_simulated(trained):
    """Integers that a float sum puts on the other side of a half are one step apart."""
    _, sim, path, x = trained
    reference = IntegerReference(sim)
    assert reference.float_nodes == ()
    exact, expected = reference(x), sim(x)
    assert (exact.argmax(1) == expected.argmax(1)).float().mean() > 0.99
    assert ((exact - expected).abs() <= 1e-5 * expected.abs().max()).float().mean() > 0.9
    file = torch.from_numpy(as_it_stands(path, x.numpy()))
    assert (exact.argmax(1) == file.argmax(1)).float().mean() > 0.99
    assert ((exact - file).abs() <= 1e-5 * file.abs().max()).float().mean() > 0.9


def as_it_stands(path, x):
    """What ONNX Runtime makes of each operator; optimizing, it rounds the biases to int32."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


@torch.no_grad()
def test_one_layer_by_hand():
    """``round((acc sx sw + b) / sy)``, clipped to -128..127."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 5)
    x = torch.randn(64, 6)
    sim = observe(torch.nn.Sequential(layer, torch.nn.ReLU(), torch.nn.Linear(5, 2)), x, "tensorrt")
    sim = sim.simulate(Recipe())
    sx, sw, sy = (sim.quantizers[n].qparams().scale.numpy() for n in ("input", "0.weight", "0"))
    weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    wide = 3 * x.numpy()  # reaches beyond what calibration saw
    qx = np.clip(np.rint(wide / sx), -128, 127)
    qw = np.rint(weight / sw[:, None])
    acc = (qx.astype(np.int64) @ qw.astype(np.int64).T).astype(np.float32)
    expected = np.clip(np.rint(np.maximum(acc * (sx * sw) + bias, 0) / sy), -128, 127)
    found = IntegerReference(sim).integers(torch.from_numpy(wide))
    by_node = [value.integers.numpy() for value in found.values()]
    np.testing.assert_array_equal(by_node[0], qx)
    np.testing.assert_array_equal(by_node[1], expected)
    assert by_node[0].min() == -128


def test_what_the_rules_refuse_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "qutils.backends.tensorrt.exporter.check",
        lambda model: check(_broken(model)),
    )
    with pytest.raises(UnsupportedError, match=r"scale: .* is not above 0"):
        export(simulated("ten-lines"), tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def _broken(model: onnx.ModelProto) -> onnx.ModelProto:
    scale = model.graph.node[0].input[1]
    for tensor in model.graph.initializer:
        if tensor.name == scale:
            tensor.CopyFrom(numpy_helper.from_array(np.float32(0), scale))
    return model


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(Scheme(4, granularity="per_channel")), "4-bit weights"),
        (Recipe(activations=Scheme(4)), "4-bit activations"),
        (Recipe(Scheme(symmetric=False)), "affine weights"),
    ],
    ids=["W4", "A4", "affine"],
)
def test_settings_without_kernel_are_refused(recipe, message, tmp_path):
    with pytest.raises(UnsupportedError, match=f"tensorrt has no integer kernel for {message}"):
        export(simulated("ten-lines", recipe), tmp_path / "net.onnx")


def test_operators_kept_in_float_are_allowed(tmp_path):
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.GELU(), torch.nn.Conv2d(4, 4, 3), torch.nn.Hardtanh()
    )
    sim = observe(net, torch.randn(8, 1, 9, 9), "tensorrt").simulate(Recipe())
    assert {v.rule for v in check(export(sim, tmp_path / "net.onnx"))} <= set(SLOWER)
