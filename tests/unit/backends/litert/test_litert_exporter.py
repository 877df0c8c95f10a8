"""Files for LiteRT: integers and scales as in the reference graph, and what executes them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from qutils import zoo
from qutils.backends.export import export
from qutils.backends.runtimes import load
from qutils.errors import MissingPackageError, UnsupportedError
from qutils.integer import IntegerReference
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import Observation, calibrate, observe
from tests.unit.graph.networks import EVERYDAY, JOINS, NETWORKS, Network
from tests.unit.graph.networks.base import conv, head_on

litert = pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")

#: Integer kernels of LiteRT's own that XNNPACK does not take over.
OWN = {
    *("RELU int8", "PADV2 int8", "MIRROR_PAD int8", "STRIDED_SLICE int8", "SOFTMAX int8"),
    *("RESIZE_NEAREST_NEIGHBOR int8", "GATHER int8"),
}
#: Where XNNPACK rounds in fixed point: LEAKY_RELU, and QUANTIZE in front of CONCATENATION. At least
#: so many of the outputs are equal to the reference's [%]; none is more than a step away.
DEPARTS = {
    "leaky": 95,
    "shuffle-unit": 85,
    "encoder-decoder": 85,
    "concat": 70,
    "join-of-halves": 70,
}
MORE = {
    "avg-pool-border": Network(
        lambda: nn.Sequential(
            conv(), nn.AvgPool2d(3, 2, 1), conv(8, 4), nn.Flatten(), nn.Linear(64, 3)
        )
    ),
    "max-pool-border": Network(
        lambda: nn.Sequential(conv(), nn.MaxPool2d(3, 1, 1), nn.Flatten(), nn.Linear(512, 3))
    ),
    "max-pool-ceil": Network(lambda: nn.Sequential(conv(), nn.MaxPool2d(3, 2, ceil_mode=True))),
    "max-pool-dilated": Network(lambda: nn.Sequential(conv(), nn.MaxPool2d(2, dilation=2))),
    "avg-pool-without-padding": Network(
        lambda: nn.Sequential(conv(), nn.AvgPool2d(3, 2, 1, count_include_pad=False))
    ),
    "conv-circular": Network(lambda: nn.Sequential(conv(padding_mode="circular"))),
    "padding-below-zero": Network(lambda: nn.Sequential(conv(), nn.ZeroPad2d(-1))),
    "leaky": Network(lambda: nn.Sequential(conv(), nn.LeakyReLU(0.1), conv(8, 4))),
    "softmax-of-channels": Network(lambda: nn.Sequential(conv(), nn.Softmax(1))),
    "wide-picture": Network(
        lambda: nn.Sequential(conv(stride=2), nn.ReLU(), conv(8, 8, groups=2), nn.Flatten()),
        (3, 6, 11),
    ),
    "many-of-each": Network(lambda: nn.Sequential(conv(3, 12, groups=3), nn.ReLU(), conv(12, 4))),
    "transposed": head_on(lambda net, x: net.conv(x).transpose(2, 3)),
    "every-third": head_on(lambda net, x: net.conv(x)[:, 1:8:3, -4:, :], 3 * 4 * 8),
}


@cache
def observed(name: str) -> Observation:
    network = {**NETWORKS, **MORE}[name]
    return observe(network.make(), network.inputs(), "litert")


#: Of the other networks, those that reach another part of the exporter.
FURTHER = (
    *(
        "concat",
        "parameter-added",
        "layer-scale",
        "number-times",
        "raw-and-relu",
        "squeeze-excite",
        "shuffle",
        "many-things",
    ),
    *("padding-same", "padding-reflect", "conv-options", "linear-3d-ending", "ends-in-flatten"),
)
RUN = [name for name in (*EVERYDAY, *FURTHER, *JOINS, *MORE) if name != "volume"]


def test_unsigned_weights_are_moved_to_signed_ones(tmp_path):
    weights = Scheme(signed=False, symmetric=True, granularity="per_channel")
    sim = observed("ten-lines").simulate(Recipe(weights=weights))
    x = NETWORKS["ten-lines"].inputs()
    got = load(export(sim, tmp_path / "net.tflite"), "litert").run(x.numpy())
    same = np.isclose(got, sim(x).detach().numpy(), atol=1e-6)
    assert same.mean() > 0.99


@pytest.mark.parametrize("name", RUN)
def test_everything_runs_in_integers_and_computes_as_the_reference(name, tmp_path):
    sim = observed(name).simulate(Recipe())
    runtime = load(export(sim, tmp_path / "net.tflite"), "litert")
    kernels = runtime.kernels()
    assert kernels.keys() - OWN == {k for k in kernels if k.endswith(" int8 (XNNPACK)")} | {
        "DEQUANTIZE float32 (XNNPACK)"
    }
    assert kernels["DEQUANTIZE float32 (XNNPACK)"] == 1
    x = {**NETWORKS, **MORE}[name].inputs()
    reference = IntegerReference(sim)
    step = reference.output_step
    wanted, got = (
        torch.round(reference(x) / step),
        torch.round(torch.from_numpy(runtime.run(x.numpy())) / step),
    )
    assert wanted.shape == got.shape
    share = 100 * (wanted == got).float().mean()
    assert share >= DEPARTS.get(name, 100), f"{share:.2f} % equal"
    assert (wanted - got).abs().max() <= 1


def test_three_axes_in_space_have_no_kernel():
    network = NETWORKS["volume"]
    advice = r"aten\.conv3d in module '0'.*on litert\. Replace .*, or leave out strict=True"
    with pytest.raises(UnsupportedError, match=advice):
        observe(network.make(), network.inputs(), "litert", strict=True)


# What the file holds ------------------------------------------------------------------------------


def opened(path: Path):
    """The file's first graph, and the stored values of a tensor."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    kinds = {schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32}

    def stored(tensor):
        data = model.buffers[tensor.buffer].data
        return np.frombuffer(bytes(data), kinds[tensor.type]).reshape(tensor.shape)

    return model, model.subgraphs[0], stored


@pytest.fixture(scope="module", params=["resnet8", "mobilenetv2"])
def trained(request, tmp_path_factory):
    """Simulated model, file and test pictures of a trained model."""
    data = zoo.dataset("fashion_mnist")
    pictures = zoo.normalize(data.calibration.images[:64])
    sim = calibrate(zoo.load(request.param), pictures, target="litert")
    path = export(sim, tmp_path_factory.mktemp("trained") / "model.tflite")
    return sim, path, zoo.normalize(data.test.images[:256])


@pytest.mark.slow(reason="real networks; the core checks small ones with the same operators")
def test_the_zoo_predicts_as_the_reference(trained):
    sim, path, x = trained
    reference = IntegerReference(sim)
    wanted, got = reference(x), torch.from_numpy(load(path, "litert").run(x.numpy()))
    steps = torch.round((wanted - got) / reference.output_step)
    assert torch.equal(wanted.argmax(1), got.argmax(1))
    assert steps.abs().max() <= 2
    assert (steps == 0).float().mean() >= 0.95


def test_weights_are_int8_biases_int32_and_those_of_the_simulation(trained):
    from ai_edge_litert import schema_py_generated as schema

    sim, path, _ = trained
    model, graph, stored = opened(path)
    layers = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    codes = {getattr(schema.BuiltinOperator, name): name for name in layers}
    written = []
    for operator in graph.operators:
        code = codes.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
        if code is None:
            continue
        weight, bias = (graph.tensors[index] for index in operator.inputs[1:])
        assert (weight.type, bias.type) == (schema.TensorType.INT8, schema.TensorType.INT32)
        integers = stored(weight)
        if code == "DEPTHWISE_CONV_2D":  # [1, H, W, O] -> [O, 1, H, W]
            integers = integers.transpose(3, 0, 1, 2)
        elif code == "CONV_2D":  # [O, H, W, I] -> [O, I, H, W]
            integers = integers.transpose(0, 3, 1, 2)
        written.append((integers, weight.quantization.scale))
    weights = [(n, q) for n, q in sim.quantizers.items() if q.site.role == "weight"]
    assert len(written) == len(weights)
    for name, quantizer in weights:
        weight, q = sim.graph_module.get_parameter(name).detach(), quantizer.qparams()
        steps = torch.round(weight / q.scale.reshape(-1, *[1] * (weight.ndim - 1))).numpy()
        found = [s for i, s in written if i.shape == steps.shape and (i == steps).all()]
        assert len(found) == 1, name
        np.testing.assert_array_equal(found[0], q.scale.numpy())


def test_activations_carry_the_scales_of_the_simulation(trained):
    sim, path, _ = trained
    grids = {
        (np.float32(t.quantization.scale[0]), int(t.quantization.zeroPoint[0]))
        for t in opened(path)[1].tensors
        if t.quantization is not None and t.type == 9 and t.buffer == 0
    }
    wanted = {
        (np.float32(q.scale), int(q.zero_point) - 128)
        for q in (m.qparams() for m in sim.quantizers.values() if m.site.role != "weight")
    }
    assert grids == wanted


def test_constants_are_aligned(trained):
    path = trained[1]
    data = path.read_bytes()
    for tensor_data in (bytes(b.data) for b in opened(path)[0].buffers if b.data is not None):
        if len(tensor_data) >= 64:
            assert data.index(tensor_data) % 16 == 0


def test_the_file_is_small(trained):
    sim, path, _ = trained
    weights = sum(
        sim.graph_module.get_parameter(n).numel()
        for n, q in sim.quantizers.items()
        if q.site.role == "weight"
    )
    assert weights < path.stat().st_size < 1.6 * weights + 16_000


# Settings -----------------------------------------------------------------------------------------

CHANNELS = Scheme(granularity="per_channel")


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(Scheme(observer="mse"), Scheme(observer="percentile")),
        Recipe(CHANNELS, Scheme(signed=True), Scheme(signed=True)),
    ],
    ids=["per-tensor", "signed"],
)
def test_settings_compute_as_the_reference(recipe, tmp_path):
    sim = observed("ten-lines").simulate(recipe)
    x = NETWORKS["ten-lines"].inputs()
    got = load(export(sim, tmp_path / "net.tflite"), "litert").run(x.numpy())
    assert torch.equal(IntegerReference(sim)(x), torch.from_numpy(got))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(Scheme(bits=4, granularity="per_channel")), "4-bit weights"),
        (Recipe(Scheme(symmetric=False)), "affine weights"),
        (Recipe(activations=Scheme(symmetric=True)), "symmetric activations"),
    ],
    ids=["W4", "affine", "symmetric-activations"],
)
def test_what_no_kernel_computes_is_refused(recipe, message, tmp_path):
    with pytest.raises(UnsupportedError, match=f"litert has no integer kernel for {message}"):
        export(observed("ten-lines").simulate(recipe), tmp_path / "net.tflite")


def test_a_model_placed_for_another_runtime_is_refused(tmp_path):
    x = NETWORKS["ten-lines"].inputs()
    sim = calibrate(NETWORKS["ten-lines"].make(), x)
    with pytest.raises(UnsupportedError, match="calibrated for onnxruntime"):
        export(sim, tmp_path / "net.tflite", target="litert")


def test_a_missing_package_names_the_command(monkeypatch, tmp_path):
    sim = observed("ten-lines").simulate(Recipe())
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.schema_py_generated", None)
    monkeypatch.delattr(litert, "schema_py_generated", raising=False)
    with pytest.raises(MissingPackageError, match=r"pip install -e .\.\[litert\]"):
        export(sim, tmp_path / "net.tflite")


@pytest.mark.parametrize(("clip", "code"), [(nn.ReLU(), "RELU"), (nn.ReLU6(), "RELU6")])
def test_clips_that_the_grid_does_not_express_have_an_operator(clip, code, tmp_path):
    x = NETWORKS["ten-lines"].inputs() * 4
    sim = calibrate(nn.Sequential(conv(), clip, conv(8, 4)), x, target="litert")
    with torch.no_grad():
        sim.quantizers["0"].zero_point.fill_(20)  # as training may: the range reaches below 0
    sim.fit_biases()
    runtime = load(export(sim, tmp_path / "net.tflite"), "litert")
    assert runtime.kernels()[f"{code} int8"] + runtime.kernels()[f"{code} int8 (XNNPACK)"] == 1
    got, wanted = torch.from_numpy(runtime.run(x.numpy())), IntegerReference(sim)(x)
    assert torch.equal(got, wanted)


def test_gates_have_the_scale_of_the_kernel():
    sim = observed("squeeze-excite").simulate(Recipe())
    gate = next(q for q in sim.quantizers.values() if q.site.fixed is not None).qparams()
    assert (float(gate.scale), int(gate.zero_point)) == (1 / 256, 0)


def test_training_leaves_the_scale_of_gates_alone():
    from qutils.quantize.qat.finetune import groups

    sim = observed("squeeze-excite").simulate(Recipe())
    groups(sim, 1e-3)
    trained = {
        q.site.fixed: q.scale.requires_grad
        for q in sim.quantizers.values()
        if q.site.role == "activation"
    }
    assert trained == {None: True, (0, 255 / 256): False}


def test_an_interpreter_of_ones_own_gives_the_same(trained):
    from ai_edge_litert.interpreter import Interpreter

    _, path, x = trained
    interpreter = Interpreter(str(path))
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], x[:1].numpy())
    interpreter.invoke()
    got = interpreter.get_tensor(result["index"])
    np.testing.assert_array_equal(got, load(path, "litert").run(x[:1].numpy()))
