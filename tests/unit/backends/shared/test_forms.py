"""Reference graphs in other forms: every rewrite leaves the numbers alone."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qutils.backends.shared.forms import (
    dense,
    float_biases,
    move_integers,
    one_reader_each,
    signed,
    spell_out_shapes,
)
from qutils.graph.nodes import op_name
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate
from qutils.quantize.convert import convert
from tests.unit.graph.networks import Net, conv, linear


@cache
def make(granularity: str = "per_channel", **weights: bool) -> tuple[torch.fx.GraphModule, ...]:
    """A reference graph, not to be changed, and inputs."""
    torch.manual_seed(0)
    net = Net(
        lambda net, x: net.head(
            F.pad(net.a(x) + net.b(net.a(x)), (1, 1, 1, 1))[:, 2:6, 2:, 2:].flatten(1)
        ),
        a=conv(),
        b=conv(8, 8),
        head=linear(4 * 64),
    )
    x = torch.randn(32, 3, 8, 8)
    recipe = Recipe(weights=Scheme(granularity=granularity, **weights))
    return convert(calibrate(net, x, recipe)), x


def with_form(module: torch.fx.GraphModule, *forms) -> torch.fx.GraphModule:
    module = copy.deepcopy(module)
    for form in forms:
        form(module)
    module.graph.lint()
    module.recompile()
    return module


@pytest.mark.parametrize(
    "form",
    [signed, float_biases, one_reader_each, dense, spell_out_shapes],
    ids=lambda form: form.__name__,
)
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_the_numbers_stay(form, granularity):
    module, x = make(granularity)
    assert torch.equal(with_form(module, form)(x), module(x))


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_all_integers_become_signed(granularity):
    module, x = make(granularity, signed=False, symmetric=True)
    new = with_form(module, signed)
    assert torch.equal(new(x), module(x))
    types = {n.args[-1] for n in new.graph.nodes if "quantize_per" in op_name(n)}
    assert types == {torch.int8, torch.int32}
    assert not [b for b in new.buffers() if b.dtype is torch.uint8]


def test_biases_are_the_same_integers_again():
    module, _ = make()
    stored = {n: b for n, b in module.named_buffers() if b.dtype is torch.int32 and "zero" not in n}
    new = with_form(module, float_biases)
    buffers = dict(new.named_buffers())
    assert len(stored) == 4  # the first convolution is called twice
    for name, integers in stored.items():
        scale = buffers[name.replace("integers", "scale")]
        back = torch.round(buffers[name.replace("integers", "real")] * (1 / scale))
        assert torch.equal(back.int(), integers)


def test_every_reader_has_its_own_dequantization():
    new = with_form(make()[0], one_reader_each)
    counts = {len(n.users) for n in new.graph.nodes if op_name(n).startswith("dequantize")}
    assert counts == {1}


def test_stored_tensors_are_dense():
    module, _ = make()
    assert any(not b.is_contiguous() for b in module.buffers())  # filters are channels-last
    assert all(b.is_contiguous() for b in with_form(module, dense).buffers())


def test_integers_are_cut_and_padded():
    module, x = make()
    forms = (signed, one_reader_each, lambda m: move_integers(m, lambda n: op_name(n) != "flatten"))
    new = with_form(module, *forms)
    assert torch.equal(new(x), module(x))
    moved = [n for n in new.graph.nodes if op_name(n) in ("pad", "constant_pad_nd", "slice")]
    assert moved
    assert all(op_name(n.args[0]) in ("quantize_per_tensor", "slice", "pad") for n in moved)


def test_the_layer_behind_is_no_move():
    module = nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), linear())
    reference = convert(calibrate(module, torch.randn(8, 3, 8, 8)))
    before = len(reference.graph.nodes)
    assert (
        len(with_form(reference, lambda m: move_integers(m, lambda n: False)).graph.nodes) == before
    )
