"""What XNNPACK's partitioner gets; what the file then computes is in tests of the runtime."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qutils.backends.executorch.exporter import prepare
from qutils.backends.export import export
from qutils.errors import MissingPackageError, UnsupportedError
from qutils.graph.nodes import op_name
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate
from qutils.quantize.convert import convert
from tests.unit.graph.networks import Net, conv, linear


def prepared(model: nn.Module, recipe: Recipe | None = None):
    """The reference graph before and after, and inputs."""
    torch.manual_seed(0)
    x = torch.randn(32, 3, 8, 8)
    sim = calibrate(model, x, recipe, target="executorch")
    module = convert(sim)
    prepare(module)
    return convert(sim), module, x


def ops(module) -> list[str]:
    return [op_name(n) for n in module.graph.nodes if op_name(n)]


def test_padding_goes_to_the_convolution():
    model = Net(
        lambda net, x: net.head(net.c(F.pad(net.a(x).relu(), (0, 1, 0, 1))).relu().flatten(1)),
        a=conv(),
        c=nn.Conv2d(8, 4, 3, stride=2),
        head=linear(64),
    )
    before, after, x = prepared(model)
    assert torch.equal(after(x), before(x))
    pad = next(n for n in after.graph.nodes if op_name(n) == "constant_pad_nd")
    assert [op_name(n) for n in pad.users] == ["conv2d"]
    assert op_name(pad.args[0]) == "dequantize_per_tensor"


def test_parts_of_a_join_come_on_its_scale():
    model = Net(lambda net, x: torch.cat([net.a(x).relu(), net.b(x)], 1), a=conv(), b=conv())
    before, after, x = prepared(model)
    assert torch.equal(after(x), before(x))
    join = next(n for n in after.graph.nodes if op_name(n) == "cat")
    grids = {n.args[1:] for n in (*join.all_input_nodes, *join.users)}
    assert len(grids) == 1


def test_symmetric_activations_keep_their_relu():
    scheme = Scheme(signed=True, symmetric=True)
    recipe = Recipe(activations=scheme, boundary=scheme)
    before, after, x = prepared(nn.Sequential(conv(), nn.ReLU6(), nn.Flatten(), linear()), recipe)
    assert torch.equal(after(x), before(x))
    assert "relu" in ops(after)
    assert not {"relu6", "hardtanh", "clamp"} & set(ops(after))


def test_operators_that_xnnpack_computes_in_float_are_refused():
    model = nn.Sequential(conv(), nn.Sigmoid(), nn.AvgPool2d(2))
    with pytest.raises(UnsupportedError, match=r"aten\.sigmoid.*aten\.avg_pool2d.*executorch"):
        calibrate(model, torch.randn(4, 3, 8, 8), target="executorch", strict=True)


def test_missing_package_names_the_command(monkeypatch, tmp_path):
    for name in [n for n in sys.modules if n.startswith("executorch")] + ["executorch"]:
        monkeypatch.setitem(sys.modules, name, None)
    sim = calibrate(nn.Sequential(conv()), torch.randn(4, 3, 8, 8), target="executorch")
    with pytest.raises(MissingPackageError, match=r"pip install -e '\.\[executorch\]'"):
        export(sim, tmp_path / "net.pte")
    assert not list(tmp_path.iterdir())
