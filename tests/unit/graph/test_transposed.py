from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from qutils.graph import capture
from qutils.graph.nodes import op_name
from qutils.graph.transposed import by_output

LAYERS = {
    1: (nn.ConvTranspose1d, nn.BatchNorm1d, (4, 6)),
    2: (nn.ConvTranspose2d, nn.BatchNorm2d, (4, 6, 7)),
    3: (nn.ConvTranspose3d, nn.BatchNorm3d, (4, 4, 5, 3)),
}


def network(axes: int, seed: int) -> nn.Module:
    """A transposed convolution of random arguments; for even seeds with BatchNorm after it."""
    choose = random.Random(seed)
    layer, norm, _ = LAYERS[axes]

    def each(low: int, high: int) -> list[int]:
        return [choose.randint(low, high) for _ in range(axes)]

    kernel, stride, padding, dilation = each(1, 5), each(1, 3), each(0, 2), each(1, 2)
    if seed % 3:
        stride = stride[:1] * axes
    extra = [choose.randint(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)]
    groups, bias = choose.choice([1, 2, 4]), bool(choose.getrandbits(1))
    made = layer(4, 8, kernel, stride, padding, extra, groups, bias, dilation)
    if seed % 2:
        return made.eval()
    tail = norm(8)
    tail.running_mean.uniform_(-1, 1)
    tail.running_var.uniform_(0.5, 2)
    return nn.Sequential(made, tail).eval()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("axes", LAYERS)
def test_a_transposed_convolution_is_a_convolution_and_a_shuffle(axes, seed):
    torch.manual_seed(seed)
    module, x = network(axes, seed), torch.randn(2, *LAYERS[axes][2])
    try:
        wanted = module(x)
    except RuntimeError:
        pytest.skip("torch refuses these arguments: the output would be empty")
    graph = capture(module, x).module
    found = {op_name(n) for n in graph.graph.nodes if n.op == "call_function"}
    torch.testing.assert_close(graph(x), wanted, rtol=1e-4, atol=1e-5)
    assert found <= {
        *(f"conv{axes}d", "constant_pad_nd", "pad"),
        *("slice", "pixel_shuffle", "reshape", "permute"),
    }


def test_filters_computed_in_the_graph_stay():
    class Computed(nn.Module):
        def forward(self, x):
            return nn.functional.conv_transpose2d(x, x[:1, :, :2, :2].transpose(0, 1))

    module, x = Computed(), torch.randn(2, 4, 5, 5)
    assert "conv_transpose2d" in {op_name(n) for n in capture(module, x).module.graph.nodes}


def test_by_output_is_its_own_inverse():
    weight = torch.randn(6, 4, 3, 3)
    assert by_output(weight, 2).shape == (8, 3, 3, 3)
    assert torch.equal(by_output(by_output(weight, 2), 2), weight)


def test_a_frozen_layer_stays_frozen():
    layer = nn.ConvTranspose2d(4, 8, 2, 2)
    layer.weight.requires_grad_(False)
    found = capture(layer, torch.randn(2, 4, 5, 5))
    assert found.frozen == ("weight",)
