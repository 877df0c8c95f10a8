"""Operators of today's networks, one line each; most compute in float between integer layers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]
#: Of one sample ``[C, H, W]``.
SHAPE = (4, 6, 8)


_STORED = {
    shape: torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))
    for shape in ((4,), (8,), (4, 1, 1))
}


def _fixed(*shape: int) -> Tensor:
    """Values that a capture reads as stored ones."""
    return _STORED[shape]


def _attention(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x.flip(2), x * 0.5)


def _recurrent(layer: nn.Module) -> Function:
    for number, parameter in enumerate(layer.parameters()):
        with torch.no_grad():
            parameter.fill_(0.1 + 0.05 * number)
    return lambda x: layer(x.flatten(1, 2))[0]


#: name -> operator of ``[N, 4, 6, 8]``.
EVERYDAY: dict[str, Function] = {
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "gelu": F.gelu,
    "gelu, tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "elu": F.elu,
    "selu": F.selu,
    "celu": partial(F.celu, alpha=0.7),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "prelu": lambda x: F.prelu(x, _fixed(4)),
    "leaky relu": partial(F.leaky_relu, negative_slope=0.2),
    "hardtanh": partial(F.hardtanh, min_val=-0.4, max_val=0.6),
    "relu6": F.relu6,
    "clamp": lambda x: x.clamp(-0.3, 0.5),
    "clamp, below": lambda x: x.clamp(min=-0.3),
    "softmax": lambda x: x.softmax(-1),
    "softmax of channels": lambda x: x.softmax(1),
    "log softmax": lambda x: x.log_softmax(-1),
    "layer norm": lambda x: F.layer_norm(x, (8,), _fixed(8), _fixed(8)),
    "layer norm, two axes": lambda x: F.layer_norm(x, (6, 8)),
    "group norm": lambda x: F.group_norm(x, 2, _fixed(4), _fixed(4)),
    "instance norm": F.instance_norm,
    "rms norm": lambda x: F.rms_norm(x, (8,), _fixed(8)),
    "normalize": lambda x: F.normalize(x, dim=1),
    "matmul": lambda x: x @ x.transpose(2, 3),
    "einsum": lambda x: torch.einsum("nchw,ndhw->ncd", x, x),
    "attention": _attention,
    "add": lambda x: x + x.flip(2),
    "add, number": lambda x: x + 0.7,
    "sub": lambda x: x - x.flip(2),
    "sub, number": lambda x: x - 0.7,
    "2 - x": lambda x: 2 - x,
    "mul": lambda x: x * x.flip(2),
    "mul, constant": lambda x: x * _fixed(4, 1, 1),
    "div": lambda x: x / (x.flip(2).abs() + 1),
    "div, number": lambda x: x / 3,
    "mean of channels": lambda x: x.mean(1, keepdim=True),
    "mean of rows": lambda x: x.mean((1, 3)),
    "sum": lambda x: x.sum(3),
    "maximum of an axis": lambda x: x.amax(2),
    "pow": lambda x: x**2,
    "sqrt": lambda x: (x.abs() + 0.1).sqrt(),
    "rsqrt": lambda x: (x.abs() + 0.5).rsqrt(),
    "exp": torch.exp,
    "log": lambda x: (x.abs() + 0.5).log(),
    "abs": torch.abs,
    "minimum": lambda x: torch.minimum(x, x.flip(2)),
    "where": lambda x: torch.where(x > 0.1, x, x * 0.3),
    "cat": lambda x: torch.cat([x, x.flip(1)], 1),
    "stack": lambda x: torch.stack([x, x.flip(1)], 1),
    "stack, and sum": lambda x: torch.stack([x, x.flip(1)], 1).sum(1),
    "chunk": lambda x: x.chunk(2, 1)[1],
    "split": lambda x: x.split([1, 3], 1)[1],
    "unbind": lambda x: x.unbind(2)[3],
    "select": lambda x: x[:, 2],
    "index": lambda x: x[:, [3, 0]],
    "roll": lambda x: x.roll((1, 2), (2, 3)),
    "flip": lambda x: x.flip(3),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "expand": lambda x: x[:, :1].expand(-1, 4, -1, -1),
    "expand, and sum": lambda x: (x[:, :1].expand(-1, 4, -1, -1) * 0.5).sum(1),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "pixel shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "channel shuffle": lambda x: F.channel_shuffle(x, 2),
    "unfold": lambda x: F.unfold(x, 2, stride=2),
    "lstm": _recurrent(nn.LSTM(8, 5, batch_first=True)),
    "gru": _recurrent(nn.GRU(8, 5, batch_first=True)),
}


#: Operators that a backend cannot run, with what its message says of each.
REFUSED: dict[str, dict[str, str]] = {
    "litert": {
        "einsum": "aten.einsum in module",
        "unfold": "aten.im2col in module",
        "lstm": "aten.lstm in module",
        "gru": "aten.gru in module",
    }
}


class Applied(nn.Module):
    """One operator as a module, so that a graph says which nodes it became."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Everyday(nn.Module):
    """A 1x1 convolution and operators on its result; their outputs in one row."""

    def __init__(self, names: Collection[str] = EVERYDAY.keys()) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1)
        self.names = list(names)
        self.operators = nn.ModuleList(Applied(EVERYDAY[name]) for name in self.names)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return torch.cat([operator(y).flatten(1) for operator in self.operators], 1)

    @torch.no_grad()
    def parts(self, row: Tensor) -> dict[str, Tensor]:
        """What each operator contributes to a row ``[N, ...]``."""
        y = self.layer(torch.zeros(1, *SHAPE))
        sizes = [operator(y).numel() for operator in self.operators]
        return dict(zip(self.names, row.split(sizes, 1), strict=True))
