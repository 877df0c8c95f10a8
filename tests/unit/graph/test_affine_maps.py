from __future__ import annotations

import pytest
import torch
from torch import nn

from qutils.graph import capture
from qutils.graph.nodes import op_name


class Mapped(nn.Module):
    """A layer and what follows it; ``c`` and ``d`` hold one value a channel."""

    def __init__(self, layer: nn.Module, function, *shape: int) -> None:
        super().__init__()
        self.layer, self.function = layer, function
        self.c = nn.Parameter(torch.rand(shape) + 0.5)
        self.register_buffer("d", torch.randn(shape))
        self.one = nn.Parameter(torch.tensor([1.7]))

    def forward(self, x):
        return self.function(self, self.layer(x))


LAYERS = {
    "conv": (nn.Conv2d(4, 6, 3), (6, 1, 1), (4, 5, 7)),
    "without bias": (nn.Conv2d(4, 6, 3, bias=False), (1, 6, 1, 1), (4, 5, 7)),
    "transposed": (nn.ConvTranspose2d(4, 6, 2, 2, groups=2), (6, 1, 1), (4, 5, 7)),
    "linear": (nn.Linear(4, 6), (6,), (4,)),
    "rows": (nn.Linear(4, 6), (1, 6), (5, 4)),
}
MAPS = {
    "factor and offset": lambda m, y: y * m.c + m.d,
    "turned": lambda m, y: m.d + m.c * y,
    "normalized": lambda m, y: (y - m.d) / m.c,
    "numbers": lambda m, y: (y * 0.5 - 2) / 3,
    "turned round": lambda m, y: 3 - y,
    "one value": lambda m, y: y * m.one + 1,
}


def ops(module: nn.Module, x: torch.Tensor) -> list[str]:
    """Operators after the capture, once it was found to compute the same."""
    graph = capture(module.eval(), x).module
    torch.testing.assert_close(graph(x), module(x), rtol=1e-4, atol=1e-5)
    return [op_name(n) for n in graph.graph.nodes if n.op == "call_function"]


@pytest.mark.parametrize("function", MAPS.values(), ids=MAPS.keys())
@pytest.mark.parametrize(("layer", "shape", "size"), LAYERS.values(), ids=LAYERS.keys())
def test_maps_of_channels_are_part_of_the_layer(layer, shape, size, function):
    found = ops(Mapped(layer, function, *shape), torch.randn(3, *size))
    assert not {"add", "sub", "mul", "div"} & set(found)


OTHERS = {
    "of places": (lambda m, y: y * m.c[..., 0, :1].reshape(-1)[:1] + torch.arange(5.0), 1),
    "division by zero": (lambda m, y: (y / 0).clamp(-1, 1), 1),
    "read twice": (lambda m, y: y * 2 + y.relu(), 2),
    "reciprocal": (lambda m, y: 2 / (y.abs() + 1), 1),
}


@pytest.mark.parametrize(("function", "left"), OTHERS.values(), ids=OTHERS.keys())
def test_other_arithmetic_stays(function, left):
    found = ops(Mapped(nn.Conv2d(4, 6, 3), function, 6, 1, 1), torch.randn(3, 4, 5, 7))
    assert sum(op in ("add", "sub", "mul", "div", "reciprocal") for op in found) >= left


def test_a_frozen_layer_keeps_its_weights():
    module = Mapped(nn.Conv2d(4, 6, 3), MAPS["factor and offset"], 6, 1, 1)
    module.layer.requires_grad_(False)
    assert "layer.weight" in capture(module.eval(), torch.randn(2, 4, 5, 7)).frozen


def test_a_frozen_offset_stays_frozen():
    module = Mapped(nn.Linear(4, 6, bias=False), lambda m, y: y + m.c, 6)
    module.c.requires_grad_(False)
    captured = capture(module.eval(), torch.randn(2, 4))
    assert "layer.bias" in captured.frozen
    assert set(captured.frozen) <= dict(captured.module.named_parameters()).keys() - {"c"}


def test_a_frozen_bias_does_not_train_with_its_factor():
    module = Mapped(nn.Linear(4, 6), lambda m, y: y * m.c, 6)
    module.layer.requires_grad_(False)
    assert {"layer.weight", "layer.bias"} <= set(capture(module.eval(), torch.randn(2, 4)).frozen)


def test_one_output_plus_a_vector_is_no_layer():
    found = ops(Mapped(nn.Linear(4, 1), lambda m, y: y + m.c, 5), torch.randn(3, 4))
    assert found[-1] == "add"


def test_a_convolution_without_a_batch_keeps_its_factor():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)
            self.factor = nn.Parameter(torch.randn(1, 8, 1))

        def forward(self, x, y):
            return self.conv(x) * self.factor + y.sum() * 0

    x, y = torch.randn(3, 8, 8), torch.randn(2, 4)
    graph = capture(Single().eval(), {"x": x, "y": y}, {"x": {0: None}})
    module = Single().eval()
    module.load_state_dict(dict(graph.module.named_parameters()), strict=False)
    inputs = graph.signature.arguments({"x": x, "y": y})
    torch.testing.assert_close(graph.module(*inputs), module(x, y))
