"""What Inductor gets; what it makes of it is in tests of the runtime."""

from __future__ import annotations

import copy
import json
import zipfile

import pytest
import torch
from torch import nn

from qutils.backends.export import export
from qutils.backends.inductor.exporter import prepare
from qutils.backends.shared.cpu import saturates
from qutils.graph.nodes import attribute, op_name
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate
from qutils.quantize.convert import convert
from tests.unit.graph.networks import NETWORKS, conv, linear, observed

SIGNED = Scheme(signed=True, symmetric=False)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(weights=Scheme(granularity="per_channel")),
        Recipe(weights=Scheme(signed=False, symmetric=True)),
        Recipe(activations=SIGNED, boundary=SIGNED),
    ],
    ids=["per-tensor", "per-channel", "unsigned-weights", "signed-activations"],
)
def test_the_form_that_it_looks_for(recipe):
    torch.manual_seed(0)
    x = torch.randn(32, 3, 8, 8)
    sim = calibrate(nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), linear()), x, recipe)
    before, module = convert(sim), convert(sim)
    prepare(module)
    if saturates():  # AVX2 kernels of floats sum in another order
        torch.testing.assert_close(module(x), before(x))
    else:
        assert torch.equal(module(x), before(x))
    ops = [op_name(n) for n in module.graph.nodes]
    assert ops.count("dequantize_per_channel") == 2
    types = {n.args[-1] for n in module.graph.nodes if op_name(n).endswith("quantize_per_tensor")}
    assert types == {torch.uint8}
    layers = [n for n in module.graph.nodes if op_name(n) in ("conv2d", "linear")]
    for layer in layers:
        stored = layer.args[1].args[0].target
        assert attribute(module, stored).dtype is torch.int8
        assert attribute(module, layer.args[2].target).dtype is torch.float32


def test_a_stored_number_is_no_weight():
    module = convert(observed("number-times", "inductor").simulate(Recipe()))
    before, x = copy.deepcopy(module), NETWORKS["number-times"].inputs()
    prepare(module)
    assert torch.equal(module(x), before(x))


def test_the_file_holds_bytes_and_no_pickle(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), linear())
    sim = calibrate(model, torch.randn(32, 3, 8, 8), target="inductor")
    path = export(sim, tmp_path / "net.pt2")
    with zipfile.ZipFile(path) as archive:
        sizes = {i.filename.partition("/")[2]: i.file_size for i in archive.infolist()}
        config = json.loads(
            archive.read(
                f"{archive.namelist()[0].partition('/')[0]}/data/weights/model_weights_config.json"
            )
        )
    stored = sorted(n for name, n in sizes.items() if name.startswith("data/weights/weight_"))
    assert stored[-2:] == [8 * 27, 4 * 512]  # a byte a weight
    assert sum(stored[:-2]) < 300  # biases, scales, zero points
    assert sizes["data/sample_inputs/model.pt"] == 0
    assert not any(entry["use_pickle"] for entry in config["config"].values())
