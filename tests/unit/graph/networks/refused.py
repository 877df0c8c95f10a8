"""Networks with an operator that has no integer kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.unit.graph.networks.base import Net, Network, conv, head_on, linear


def attention(net: Net, x: Tensor) -> Tensor:
    weights = torch.softmax(net.query(x) @ net.key(x).transpose(1, 2), -1)
    return net.head(weights.flatten(1))


#: Networks with an operator that has no integer kernel, and how the message names it.
REFUSED: dict[str, tuple[Network, str]] = {
    "gelu": (Network(lambda: nn.Sequential(conv(), nn.GELU())), "aten.gelu in module '1'"),
    "hardswish": (
        Network(lambda: nn.Sequential(conv(), nn.Hardswish())),
        "aten.hardswish in module '1'",
    ),
    "attention": (
        Network(
            lambda: Net(attention, query=linear(6, 6), key=linear(6, 6), head=linear(25)), (5, 6)
        ),
        "aten.softmax in module 'softmax'",
    ),
    "hardtanh-below-zero": (
        Network(lambda: nn.Sequential(conv(), nn.Hardtanh())),
        "aten.hardtanh in module '1'",
    ),
    "clamp-above": (head_on(lambda net, x: net.conv(x).clamp(max=0.5)), "aten.clamp in"),
    "clamp-by-tensor": (
        head_on(lambda net, x: net.conv(x).clamp(min=net.low), low=lambda: torch.tensor(0.1)),
        "aten.clamp in",
    ),
    "add-alpha": (
        head_on(lambda net, x: torch.add(net.conv(x), net.conv(x).relu(), alpha=2)),
        "aten.add in",
    ),
    "subtract": (head_on(lambda net, x: net.conv(x) - net.conv(x).relu()), "aten.sub in"),
    "bn-last": (  # no layer in front takes it in, and none behind
        Network(lambda: nn.Sequential(linear(6, 5), nn.ReLU(), nn.BatchNorm1d(5)), (6,)),
        "aten.batch_norm in module '2'",
    ),
    "gamma-computed": (  # from the input: folding would drop it
        Network(
            lambda: Net(
                lambda net, x: net.head(
                    F.batch_norm(net.conv(x), net.mean, net.variance, net.gamma * x.sum()).flatten(
                        1
                    )
                ),
                conv=conv(),
                head=linear(),
                mean=torch.zeros(8),
                variance=torch.ones(8),
                gamma=torch.linspace(0.5, 2.0, 8),
            )
        ),
        "aten.sum in module .*, aten.batch_norm in module",
    ),
    "gelu-layer-norm": (
        Network(lambda: nn.Sequential(linear(6, 8), nn.GELU(), nn.LayerNorm(8), linear(8)), (6,)),
        "aten.gelu in module '1'",
    ),
    "hardsigmoid": (
        head_on(
            lambda net, x: net.conv(x) * F.hardsigmoid(net.gate(F.adaptive_avg_pool2d(x, 1))),
            gate=lambda: conv(3, 8, 1),
        ),
        "aten.hardsigmoid in module 'hardsigmoid'",
    ),
    "log-softmax-inside": (  # at the very end it would stay in float
        head_on(
            lambda net, x: net.conv(x) * F.log_softmax(net.gate(x), 1), gate=lambda: conv(3, 8)
        ),
        "aten.log_softmax in module 'log_softmax'",
    ),
    "weight-computed": (
        head_on(lambda net, x: F.conv2d(x, net.conv.weight * x.sum(), padding=1)),
        "aten.conv2d in module 'conv2d'",
    ),
    "group-norm": (
        Network(lambda: nn.Sequential(conv(), nn.GroupNorm(2, 8))),
        "aten.group_norm in module '1'",
    ),
}
