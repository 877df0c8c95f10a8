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
from qutils.calibration import calibrate, observe
from qutils.errors import DataError, UnsupportedError
from qutils.export import export, export_float
from qutils.observers import OBSERVERS
from qutils.runtimes import load
from qutils.runtimes.onnxruntime import FLOAT_OPS
from qutils.schemes import Recipe, Scheme
from tests.unit.graph.networks import NETWORKS, REFUSED, ZOO, observed, ten_lines

#: Networks that each reach another part of the exporter, and what has to run in integers.
EXPORTED = {
    "linear-no-bias": {"QGemm": 2},
    "conv1d": {"QLinearConv": 2, "QGemm": 1},
    "conv-options": {"QLinearConv": 2, "QGemm": 1},
    "padding-same": {"QLinearConv": 3, "QGemm": 1},
    "shared-conv-no-bias": {"QLinearConv": 2},
    "twins": {"QLinearConv": 2, "QGemm": 1},
    "conv-twice": {"QLinearConv": 1, "QLinearAdd": 1, "QGemm": 1},  # ORT merges equal nodes
    "clamp-min": {"QLinearConv": 1, "QGemm": 1},
    "functional": {"QLinearConv": 3, "QGemm": 1},
    "view-groups-of-rows": {"QGemm": 2},
    "mean-keepdim": {"QLinearConv": 2, "QLinearGlobalAveragePool": 1},
    "shuffle": {"QLinearConv": 1, "QGemm": 1},
    "concat": {"QLinearConv": 2, "QLinearConcat": 1, "QGemm": 1},
    "x-plus-x": {"QLinearConv": 1, "QLinearAdd": 1, "QGemm": 1},
    "residual-of-input": {"QLinearConv": 1, "QLinearAdd": 1, "QGemm": 1},
    "parameter-added": {"QLinearConv": 1, "QLinearAdd": 1, "QGemm": 1},
    "squeeze-excite": {"QLinearConv": 2, "QLinearSigmoid": 1, "QLinearMul": 1, "QGemm": 1},
    "ends-in-relu": {"QLinearConv": 1},
    "ends-in-conv": {"QLinearConv": 2},
    "ends-in-flatten": {"QLinearConv": 2},
    "linear-3d": {"MatMulIntegerToFloat": 1, "QGemm": 1},
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
    # A step in the pooled features moves a logit by that step times a weight.
    weight = sim.graph_module.get_parameter("classifier.weight")
    assert (got - expected).abs().max() <= 3 * last_step(sim) * weight.abs().max()


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


@cache
def tens() -> tuple[object, torch.Tensor]:
    x = NETWORKS["ten-lines"].inputs()
    return observe(NETWORKS["ten-lines"].make(), x), x


@pytest.mark.parametrize(
    "recipe",
    [
        *(Recipe(activations=Scheme(observer=name)) for name in OBSERVERS),
        *(Recipe(Scheme(granularity="per_channel", observer=name)) for name in ("mse", "entropy")),
        Recipe(weights=Scheme()),
        Recipe(activations=Scheme(signed=True), boundary=Scheme(signed=True)),
    ],
    ids=[*OBSERVERS, "weights-mse", "weights-entropy", "per-tensor", "signed"],
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


@pytest.mark.parametrize(
    ("scale", "zero_point"), [(2.0, 0.0), (1.0, 4.0)], ids=["wider-than-relu6", "below-zero"]
)
def test_ranges_that_training_moved_stay_absorbable(scale, zero_point, tmp_path):
    sim = tens()[0].simulate(Recipe())
    with torch.no_grad():
        sim.quantizers["4"].scale.mul_(scale * 6 / 255 / sim.quantizers["4"].scale)
        for name in ("0", "4"):
            sim.quantizers[name].zero_point.fill_(zero_point)
    assert load(export(sim, tmp_path / "moved.onnx")).kernels()["QLinearConv"] < 2
    sim.fit_clips()
    sim.fit_biases()
    path = export(sim, tmp_path / "fitted.onnx")
    assert load(path).kernels()["QLinearConv"] == 2
    assert_no_float_layer(path)
    assert_runs_as_simulated(path, sim, tens()[1])


@pytest.mark.parametrize("name", ["gelu", "attention", "conv-transpose"])
def test_operators_kept_in_float_are_exported(name, tmp_path):
    network = REFUSED[name][0]
    x = network.inputs()
    sim = calibrate(network.make(), x, allow_float=True)
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


# Errors and the float file ------------------------------------------------------------------------


def test_an_operator_without_translation_is_explained(tmp_path):
    network = REFUSED["pool-to-2x2"][0]
    sim = calibrate(network.make(), network.inputs(), allow_float=True)
    path = tmp_path / "net.onnx"
    path.write_bytes(b"earlier")
    with pytest.raises(UnsupportedError, match="ONNX has adaptive average pooling to 1x1 only"):
        export(sim, path)
    assert path.read_bytes() == b"earlier"


def test_an_unknown_target(tmp_path):
    with pytest.raises(
        UnsupportedError, match=r"calibrated for onnxruntime; calibrate\(.*'tensorrt'"
    ):
        export(tens()[0].simulate(Recipe()), tmp_path / "net.onnx", target="tensorrt")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file"):
        export(tens()[0].simulate(Recipe()), tmp_path / "file" / "net.onnx")


def test_the_exporter_prints_nothing(tmp_path, capfd):
    export(observed("linear-only").simulate(Recipe()), tmp_path / "net.onnx")
    assert capfd.readouterr() == ("", "")


def test_an_export_replaces_the_earlier_one(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"earlier")
    assert export(observed("linear-only").simulate(Recipe()), path) == path
    onnx.checker.check_model(onnx.load(path))


def test_the_same_model_gives_the_same_bytes(tmp_path):
    sim = observed("linear-only").simulate(Recipe())
    files = [export(sim, tmp_path / name).read_bytes() for name in ("a.onnx", "b.onnx")]
    assert files[0] == files[1]


def test_the_float_file_computes_what_the_model_does(tmp_path):
    model, x = ZOO["resnet8"].make(), ZOO["resnet8"].inputs(8)
    path = export_float(model, (1, 28, 28), tmp_path / "float.onnx")
    assert model.training  # the caller's model keeps its mode
    with torch.no_grad():
        expected = model.eval()(x).numpy()
    np.testing.assert_allclose(load(path).run(x.numpy()), expected, rtol=1e-3, atol=1e-4)


def test_the_int8_file_is_smaller(tmp_path):
    wide = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    int8 = export(calibrate(wide, torch.randn(8, 256)), tmp_path / "int8.onnx")
    float32 = export_float(wide, (256,), tmp_path / "float.onnx")
    assert int8.stat().st_size < 0.3 * float32.stat().st_size


def test_a_users_model_in_one_go(tmp_path):
    """Ten lines, calibrated and exported as the README shows it."""
    model, x = ten_lines(), torch.randn(64, 3, 8, 8)
    path = export(calibrate(model, x), tmp_path / "mine.onnx", target="onnxruntime")
    assert_no_float_layer(path)
    assert load(path).run(x.numpy()).shape == (64, 10)
