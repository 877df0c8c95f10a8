"""The integer reference equals the INT8 file in ONNX Runtime, integer for integer.

Small networks of every kind are compared where they are exported: tests/unit/backends.
"""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from qutils import zoo
from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.backends.onnxruntime.runtime import session_options_of
from qutils.backends.runtimes import RuntimeOptions
from qutils.errors import InvalidInputError, UnsupportedError
from qutils.integer import IntegerReference
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize import qat
from qutils.quantize.calibration import calibrate
from tests.unit.graph.networks import EVERYDAY, observed

RECIPES = {
    "per tensor": Recipe(Scheme()),
    "per channel, mse": Recipe(activations=Scheme(observer="mse")),
}


def from_file(sim, folder, x: torch.Tensor) -> torch.Tensor:
    """What ONNX Runtime makes of ``x`` with the exported INT8 file."""
    return torch.from_numpy(runtimes.load(export(sim, folder / "net.onnx")).run(x.numpy()))


@pytest.mark.slow(reason="trained networks whole; the core compares every layer of the same")
@pytest.mark.parametrize(("model", "recipe"), list(zip(zoo.MODELS, RECIPES, strict=True)))
def test_trained_networks_equal_their_files_on_real_pictures(model, recipe, tmp_path):
    data = zoo.dataset("fashion_mnist")
    sim = calibrate(zoo.load(model), data.calibration.take(128), RECIPES[recipe])
    x, _ = next(iter(data.test.batches(200)))
    reference = IntegerReference(sim)
    assert reference.float_nodes == ()
    assert torch.equal(reference(x), from_file(sim, tmp_path, x))


@pytest.mark.parametrize("model", zoo.MODELS)
def test_every_layer_equals_the_files(model, tmp_path):
    """The file gives its inner tensors out, as an ONNX graph can be told to."""
    data = zoo.dataset("fashion_mnist")
    sim = zoo.load_quantized(model, 8, 8)
    x, _ = next(iter(data.test.batches(50)))
    found = IntegerReference(sim).integers(x)
    path = export(sim, tmp_path / "net.onnx")
    graph = onnx.load(path)
    inner = [n.output[0] for n in graph.graph.node if n.op_type == "QuantizeLinear"]
    for name in inner:
        graph.graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, None))
    import onnxruntime as ort

    options = session_options_of(RuntimeOptions())
    providers = ["CPUExecutionProvider"]
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=providers)
    values = session.run(inner, {"input": x.numpy()})
    assert len(inner) == len(found)
    for name, given, value in zip(found, values, found.values(), strict=True):
        assert torch.equal(torch.from_numpy(given).int(), value.integers), name


def test_the_simulation_predicts_the_same(tmp_path):
    data = zoo.dataset("fashion_mnist").test.take(1000)
    sim = zoo.load_quantized("resnet8", 8, 8)
    reference = IntegerReference(sim)
    with torch.no_grad():
        same = [(reference(x).argmax(1) == sim(x).argmax(1)).float().mean() for x, _ in data]
    assert min(same) == 1


def test_low_bits_have_a_reference_too():
    """No runtime has such kernels; the arithmetic is the same."""
    torch.manual_seed(0)
    x = torch.randn(64, 1, 8, 8)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    sim = calibrate(model, [x], Recipe(Scheme(3, granularity="per_channel"), Scheme(4)))
    found = IntegerReference(sim).integers(x)
    assert max(int(v.integers.max()) for v in list(found.values())[1:]) <= 15
    noise = (IntegerReference(sim)(x) - sim(x)).square().sum() / sim(x).square().sum()
    assert noise < 1e-3


def test_float_operators_are_named_and_computed_in_float(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GELU(), nn.Conv2d(4, 2, 1), nn.Flatten())
    x = torch.randn(8, 1, 6, 6)
    sim = calibrate(model, [x])
    reference = IntegerReference(sim)
    assert reference.float_nodes == ("gelu",)
    got = from_file(sim, tmp_path, x)
    step = float(list(sim.quantizers.values())[-1].scale)
    assert (reference(x) - got).abs().max() <= 2 * step  # erf differs in its last bits


def test_qat_keeps_it_exact(tmp_path):
    x, y = torch.randn(64, 1, 8, 8), torch.randint(0, 3, (64,))
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    sim = qat.finetune(calibrate(model, [x]), [(x, y)], epochs=5, progress=False)
    assert torch.equal(IntegerReference(sim)(x), from_file(sim, tmp_path, x))


def test_bad_input_is_refused():
    sim = observed(next(iter(EVERYDAY))).simulate(Recipe())
    reference = IntegerReference(sim)
    with pytest.raises(InvalidInputError, match="input of shape"):
        reference(torch.zeros(2, 9, 9, 9))
    with pytest.raises(InvalidInputError, match=r"got Linear: make one with q\.calibrate"):
        IntegerReference(nn.Linear(2, 2))
    groups = Recipe(Scheme(granularity="per_group", group_size=3))
    with pytest.raises(UnsupportedError, match="per_group"):
        IntegerReference(observed(next(iter(EVERYDAY))).simulate(groups))
