"""What the small networks are built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

IMAGE = (3, 8, 8)


class Net(nn.Module):
    """A module whose forward is a function: ``Net(lambda net, x: net.conv(x), conv=...)``."""

    def __init__(self, function: Callable[..., Tensor], **members: nn.Module | Tensor) -> None:
        super().__init__()
        self.function = function
        for name, member in members.items():
            if isinstance(member, nn.Module | nn.Parameter):
                setattr(self, name, member)
            else:
                self.register_buffer(name, member)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


@dataclass(frozen=True)
class Network:
    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = IMAGE

    def make(self) -> nn.Module:
        """The network with random BatchNorm statistics, always the same, in training mode."""
        torch.manual_seed(0)
        return random_batch_norm(self.build()).train()

    def inputs(self, n: int = 32) -> Tensor:
        torch.manual_seed(1)
        return torch.randn(n, *self.shape)


def random_batch_norm(model: nn.Module) -> nn.Module:
    """Statistics as after training, gamma negative in places."""
    for module in model.modules():
        if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            continue
        if module.running_mean is not None:
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.3, 2)
        if module.affine:
            nn.init.uniform_(module.weight, -0.2, 1.5)
            nn.init.normal_(module.bias, std=0.5)
    return model


def conv(i: int = 3, o: int = 8, kernel: int = 3, **options: object) -> nn.Conv2d:
    return nn.Conv2d(i, o, kernel, **{"padding": kernel // 2, **options})


def linear(i: int = 512, o: int = 4) -> nn.Linear:
    return nn.Linear(i, o)


def head_on(function: Callable[..., Tensor], features: int = 512, **members: object) -> Network:
    """``function(net, x)``, flattened, behind a conv of 3 to 8 channels, before a linear layer."""
    return Network(
        lambda: Net(
            lambda net, x: net.head(function(net, x).flatten(1)),
            conv=conv(),
            head=linear(features),
            **{name: make() for name, make in members.items()},
        )
    )
