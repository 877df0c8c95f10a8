from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from qutils import zoo
from qutils.backends.export import export
from qutils.backends.onnxruntime.runtime import FLOAT_OPS
from qutils.backends.runtimes import load
from qutils.backends.shared.onnx_writer import export_float
from qutils.errors import DataError, InvalidInputError, UnsupportedError
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate, observe
from tests.unit.graph.networks import NETWORKS, REFUSED, observed, ten_lines

#: Networks that each reach another part of the exporter, and what has to run in integers.
EXPORTED = {
    "linear-no-bias": {"QGemm": 2},
    "linear-3d": {"QGemm": 2},
    "linear-3d-ending": {"QGemm": 2},
    "many-things": {"QLinearConv": 4, "QLinearAdd": 3, "QLinearGlobalAveragePool": 1},
    "conv1d": {"QLinearConv": 2, "QGemm": 1},
    "conv-twice": {"QLinearConv": 2},
    "twins": {"QLinearConv": 2, "QGemm": 1},
    "shuffle": {"QLinearConv": 1, "QGemm": 1},
    "concat": {"QLinearConv": 2, "QLinearConcat": 1, "QGemm": 1},
    "squeeze-excite": {"QLinearConv": 2, "QLinearSigmoid": 1, "QLinearMul": 1, "QGemm": 1},
    "ends-in-flatten": {"QLinearConv": 2},
}


def last_step(sim) -> float:
    return [float(q.scale) for q in sim.quantizers.values() if q.site.role != "weight"][-1]


@torch.no_grad()
def assert_runs_as_simulated(path: Path, sim, x: torch.Tensor) -> None:
    """Few steps of the last scale apart, equal nearly everywhere, one by one as in a batch."""
    runtime = load(path)
    got, expected = torch.from_numpy(runtime.run(x.numpy())), sim(x)
    assert got.shape == expected.shape
    difference = (got - expected).abs()
    assert difference.max() <= 3 * last_step(sim)
    assert (difference <= 1e-5 * expected.abs().max()).float().mean() > 0.9
    np.testing.assert_array_equal(runtime.run(x[:1].numpy()), got[:1].numpy())


def assert_no_float_layer(path: Path) -> None:
    assert not FLOAT_OPS & load(path).kernels().keys()


@pytest.mark.parametrize("name", EXPORTED)
def test_networks_run_in_integers(name, tmp_path):
    sim = observed(name).simulate(Recipe())
    path = export(sim, tmp_path / "net.onnx")
    kernels = load(path).kernels()
    assert {op: kernels[op] for op in EXPORTED[name]} == EXPORTED[name]
    assert_no_float_layer(path)
    assert_runs_as_simulated(path, sim, NETWORKS[name].inputs())


# The models of the zoo, with real pictures --------------------------------------------------------

WEIGHTED = {"resnet8": 9, "mobilenetv2": 19}  # convolutions


@pytest.fixture(scope="module", params=WEIGHTED)
def trained(request, tmp_path_factory):
    """Name, simulated model, file and test pictures of a trained model."""
    data = zoo.dataset("fashion_mnist")
    sim = calibrate(zoo.load(request.param), zoo.normalize(data.calibration.images[:64]))
    path = export(sim, tmp_path_factory.mktemp("trained") / "model.onnx")
    return request.param, sim, path, zoo.normalize(data.test.images[:256])


def test_the_zoo_runs_in_integers(trained):
    name, _, path, _ = trained
    kernels = load(path).kernels()
    assert kernels["QLinearConv"] == WEIGHTED[name]
    assert kernels["QGemm"] == kernels["QLinearGlobalAveragePool"] == kernels["QuantizeLinear"] == 1
    assert kernels["DequantizeLinear"] == 0
    assert not FLOAT_OPS & kernels.keys()


@torch.no_grad()
def test_the_zoo_predicts_as_simulated(trained):
    _, sim, path, x = trained
    got, expected = torch.from_numpy(load(path).run(x.numpy())), sim(x)
    assert torch.equal(got.argmax(1), expected.argmax(1))
    assert (got - expected).abs().max() <= 4 * last_step(sim)


def test_weights_are_int8_and_biases_int32(trained):
    name, _, path, _ = trained
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    stored = {t.name: t for t in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    layers = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    assert len(layers) == WEIGHTED[name] + 1
    for layer in layers:
        source, weight, bias = (made_by[value] for value in layer.input)
        assert {source.op_type, weight.op_type, bias.op_type} == {"DequantizeLinear"}
        assert stored[weight.input[0]].data_type == TensorProto.INT8
        assert stored[bias.input[0]].data_type == TensorProto.INT32
    large = [t for t in stored.values() if t.data_type == TensorProto.FLOAT and len(t.dims) > 1]
    assert not large


def test_stored_weights_are_those_of_the_simulation(trained):
    _, sim, path, _ = trained
    stored = Counter(
        numpy_helper.to_array(t).tobytes()
        for t in onnx.load(path).graph.initializer
        if t.data_type == TensorProto.INT8 and len(t.dims) > 1
    )
    for name, quantizer in sim.quantizers.items():
        if quantizer.site.role == "weight":
            weight = sim.graph_module.get_parameter(name)
            steps = torch.round(
                quantizer(weight) / quantizer.scale.reshape(-1, *[1] * (weight.ndim - 1))
            )
            assert stored[steps.to(torch.int8).contiguous().numpy().tobytes()] >= 1, name


def test_the_file_carries_no_ballast(trained):
    _, _, path, _ = trained
    model = onnx.load(path)
    assert not model.graph.value_info
    assert not model.metadata_props
    for node in model.graph.node:
        assert not node.name
        assert not node.doc_string
        assert not node.metadata_props
    read = {name for node in model.graph.node for name in node.input}
    assert {t.name for t in model.graph.initializer} <= read
    assert [v.name for v in (*model.graph.input, *model.graph.output)] == ["input", "output"]


# Settings -----------------------------------------------------------------------------------------


CHANNELS = Scheme(granularity="per_channel")


@cache
def tens() -> tuple[object, torch.Tensor]:
    x = NETWORKS["ten-lines"].inputs()
    return observe(NETWORKS["ten-lines"].make(), x), x


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(weights=Scheme(observer="mse"), activations=Scheme(observer="percentile")),
        Recipe(weights=Scheme(observer="entropy"), activations=Scheme(observer="mse")),
        Recipe(CHANNELS, Scheme(observer="entropy", signed=True), Scheme(signed=True)),
        Recipe(CHANNELS, Scheme(observer="moving_average")),
    ],
    ids=["tensor-mse-percentile", "tensor-entropy-mse", "signed", "moving-average"],
)
def test_settings_run_in_integers(recipe, tmp_path):
    kept, x = tens()
    sim = kept.simulate(recipe)
    path = export(sim, tmp_path / "net.onnx")
    assert load(path).kernels()["QLinearConv"] == 2
    assert_no_float_layer(path)
    assert_runs_as_simulated(path, sim, x)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(Scheme(bits=4, granularity="per_channel")), "4-bit weights"),
        (Recipe(activations=Scheme(bits=4)), "4-bit activations"),
        (Recipe(boundary=Scheme(bits=4)), "4-bit boundary"),
        (Recipe(Scheme(symmetric=False)), "affine weights"),
        (Recipe(Scheme(granularity="per_group", group_size=9)), "per_group weights"),
        (Recipe(activations=Scheme(symmetric=True)), "symmetric activations"),
    ],
    ids=["W4", "A4", "boundary", "affine", "per-group", "symmetric-activations"],
)
def test_what_no_kernel_computes_is_refused_before_writing(recipe, message, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"earlier")
    with pytest.raises(UnsupportedError, match=f"no integer kernel for {message}.*simulated"):
        export(tens()[0].simulate(recipe), path)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_ranges_that_training_moved_beyond_relu6_run_in_integers(tmp_path):
    sim = tens()[0].simulate(Recipe())
    with torch.no_grad():
        sim.quantizers["4"].scale.fill_(7 / 255)
    sim.fit_biases()
    path = export(sim, tmp_path / "net.onnx")
    assert load(path).kernels()["QLinearConv"] == 2
    assert_no_float_layer(path)
    assert_runs_as_simulated(path, sim, tens()[1])


@pytest.mark.parametrize("name", ["attention", "hardswish"])
def test_operators_kept_in_float_are_exported(name, tmp_path):
    network = REFUSED[name][0]
    x = network.inputs()
    sim = calibrate(network.make(), x)
    path = export(sim, tmp_path / "net.onnx")
    kernels = load(path).kernels()
    assert kernels["QLinearConv"] + kernels["QGemm"] + kernels["QLinearMatMul"] >= 1
    with torch.no_grad():
        difference = torch.from_numpy(load(path).run(x.numpy())) - sim(x)
    assert difference.abs().max() <= 3 * last_step(sim)


def test_dead_and_overflowing_channels_run_as_simulated(tmp_path):
    model = NETWORKS["ten-lines"].make()
    with torch.no_grad():
        model[4].weight[3] = 0
        model[8].weight[1] *= 1e-9
        model[8].bias[1] = 300.0
    x = NETWORKS["ten-lines"].inputs()
    sim = calibrate(model, x)
    path = export(sim, tmp_path / "net.onnx")
    assert_no_float_layer(path)
    got = torch.from_numpy(load(path).run(x.numpy()))
    torch.testing.assert_close(got, sim(x).detach(), rtol=1e-5, atol=3 * last_step(sim))


@pytest.mark.parametrize("factor", [0.0, 1e-6, 1e-12])
def test_tensors_of_any_magnitude_run_as_simulated(factor, tmp_path):
    x = factor * NETWORKS["ten-lines"].inputs()
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 3, bias=False))
    sim = calibrate(model, x)
    path = export(sim, tmp_path / "net.onnx")
    assert_no_float_layer(path)
    got, expected = torch.from_numpy(load(path).run(x.numpy())), sim(x).detach()
    assert (got - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert (expected != 0).any() == bool(factor)


# Errors and the float file ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (nn.AdaptiveAvgPool2d(3), "ONNX has adaptive average pooling to 1x1 only"),
        (
            nn.AvgPool2d(2, divisor_override=3),
            "ONNX has no average pooling with divisor_override=3",
        ),
    ],
)
def test_an_operator_without_translation_is_explained(pool, message, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"earlier")
    with pytest.raises(UnsupportedError, match=message):
        export_float(nn.Sequential(nn.Conv2d(3, 8, 3), pool), (3, 8, 8), path)
    assert path.read_bytes() == b"earlier"


def test_an_unknown_target(tmp_path):
    with pytest.raises(InvalidInputError, match="unknown target 'nowhere': choose from onnxrun"):
        export(tens()[0].simulate(Recipe()), tmp_path / "net.onnx", target="nowhere")


@pytest.mark.parametrize("name", ["net.tflite", "net.json", "net"])
def test_an_ending_of_another_target(name, tmp_path):
    with pytest.raises(InvalidInputError, match=r"an ending that onnxruntime does not read"):
        export(tens()[0].simulate(Recipe()), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file"):
        export(tens()[0].simulate(Recipe()), tmp_path / "file" / "net.onnx")


def test_exporting_again_replaces_the_file_silently_with_the_same_bytes(tmp_path, capfd):
    sim, path = observed("linear-only").simulate(Recipe()), tmp_path / "net.onnx"
    path.write_bytes(b"earlier")
    assert export(sim, path) == path
    first = path.read_bytes()
    assert export(sim, path, target="onnxruntime").read_bytes() == first
    onnx.checker.check_model(onnx.load(path))
    assert capfd.readouterr() == ("", "")


def test_the_float_file_computes_what_the_model_does(tmp_path):
    model, x = ten_lines().train(), torch.randn(8, 3, 8, 8)
    path = export_float(model, (3, 8, 8), tmp_path / "float.onnx")
    assert model.training  # the caller's model keeps its mode
    with torch.no_grad():
        expected = model.eval()(x).numpy()
    np.testing.assert_allclose(load(path).run(x.numpy()), expected, rtol=1e-4, atol=1e-5)
