"""Networks by what lies between their layers: activations, shapes, sums, joins, endings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.unit.graph.networks.base import Net, Network, conv, head_on, linear


def inplace_add(net: Net, x: Tensor) -> Tensor:
    first = net.conv(x)
    second = net.conv2(first)
    second += first
    return net.head(second.relu_().flatten(1))


def shuffle(net: Net, x: Tensor) -> Tensor:
    y = net.conv(x).relu()
    y = y.view(y.size(0), 2, 4, 8, 8).transpose(1, 2).reshape(y.size(0), 8, 8, 8)
    return net.head(y.flatten(1))


def squeeze_excite(net: Net, x: Tensor) -> Tensor:
    y = net.conv(x).relu()
    return net.head((y * torch.sigmoid(net.gate(F.adaptive_avg_pool2d(y, 1)))).flatten(1))


def many_things(net: Net, x: Tensor) -> Tensor:
    """What the exporter meets elsewhere too, in one file: exporting costs a second."""
    y = net.conv(x).clamp(min=0)
    y = F.relu6(net.grouped(y))
    y = y + y
    y = net.same(y + net.p) + y
    return net.head(F.hardtanh(y, 0.0, 6.0).mean([-1, -2], keepdim=True))


def raw_and_relu(net: Net, x: Tensor) -> Tensor:
    y = net.conv(x)
    return net.head((y.relu() + y).flatten(1))


#: Networks with all that moves, joins and clips values on the way.
FLOWS: dict[str, Network] = {
    "inplace-relu-first": Network(
        lambda: nn.Sequential(nn.ReLU(inplace=True), conv(), nn.ReLU(), nn.Flatten(), linear())
    ),
    "inplace-add": Network(lambda: Net(inplace_add, conv=conv(), conv2=conv(8, 8), head=linear())),
    "many-things": Network(
        lambda: Net(
            many_things,
            conv=conv(),
            grouped=conv(8, 8, stride=2, dilation=2, padding=2, groups=4),
            p=nn.Parameter(torch.randn(8, 1, 1)),
            same=nn.Conv2d(8, 8, (1, 3), padding="same", bias=False),
            head=conv(8, 4, 1),
        )
    ),
    "functional": head_on(
        lambda net, x: F.hardtanh(net.c3(net.c2(F.relu6(net.conv(x))).clamp(0, 6)), 0.0, 6.0),
        c2=lambda: conv(8, 8),
        c3=lambda: conv(8, 8),
    ),
    "clamp-min": head_on(lambda net, x: net.conv(x).clamp(min=0)),
    "view-batch": Network(
        lambda: Net(
            lambda net, x: net.head(net.conv(x).relu().view(x.size(0), -1)),
            conv=conv(),
            head=linear(),
        )
    ),
    "view-minus-one": Network(
        lambda: Net(
            lambda net, x: net.head(net.conv(x).relu().view(-1, 512)), conv=conv(), head=linear()
        )
    ),
    "view-groups-of-rows": Network(
        lambda: Net(
            lambda net, x: net.head(net.inner(x.view(-1, 6)).relu().view(x.size(0), -1)),
            inner=linear(6, 8),
            head=linear(32),
        ),
        (4, 6),
    ),
    "mean": Network(
        lambda: Net(
            lambda net, x: net.head(net.conv(x).relu().mean((2, 3))), conv=conv(), head=linear(8)
        )
    ),
    "mean-keepdim": Network(
        lambda: Net(
            lambda net, x: net.head(net.conv(x).relu().mean([-1, -2], keepdim=True)),
            conv=conv(),
            head=conv(8, 4, 1),
        )
    ),
    "shuffle": Network(lambda: Net(shuffle, conv=conv(), head=linear())),
    "slice": head_on(lambda net, x: net.conv(x).relu()[:, :4], 256),
    "max-pool-relu": head_on(lambda net, x: F.max_pool2d(net.conv(x), 2).relu(), 128),
    "concat": head_on(
        lambda net, x: torch.cat([net.conv(x).relu(), x, net.conv2(x)], 1), 19 * 64, conv2=conv
    ),
    "residual-of-input": Network(
        lambda: Net(
            lambda net, x: net.head((net.conv(x) + x).relu().flatten(1)),
            conv=conv(3, 3),
            head=linear(192),
        )
    ),
    "x-plus-x": head_on(lambda net, x: (lambda y: y + y)(net.conv(x))),
    "raw-and-relu": Network(lambda: Net(raw_and_relu, conv=conv(), head=linear())),
    "parameter-added": head_on(
        lambda net, x: (net.conv(x) + net.p).relu(),
        p=lambda: nn.Parameter(torch.randn(1, 8, 8, 8)),
    ),
    "layer-scale": head_on(
        lambda net, x: net.p.view(1, -1, 1, 1) * net.conv(x).relu(),
        p=lambda: nn.Parameter(torch.rand(8)),
    ),
    "number-times": head_on(
        lambda net, x: net.p * net.conv(x).relu(), p=lambda: nn.Parameter(torch.tensor(0.7))
    ),
    "squeeze-excite": Network(
        lambda: Net(squeeze_excite, conv=conv(), gate=conv(8, 8, 1), head=linear())
    ),
    "ends-in-relu": Network(lambda: nn.Sequential(conv(), nn.ReLU())),
    "ends-in-conv": Network(lambda: nn.Sequential(conv(), nn.ReLU(), conv(8, 4))),
    "ends-in-flatten": Network(lambda: nn.Sequential(conv(), nn.ReLU(), conv(8, 4), nn.Flatten())),
    "ends-in-add": Network(lambda: Net(lambda net, x: net.conv(x) + x, conv=conv(3, 3))),
    "no-layers": Network(nn.Flatten),
}
