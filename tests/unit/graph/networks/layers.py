"""Networks by their layers: kinds, options, weights that are shared, BatchNorm in its places."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.unit.graph.networks.base import Net, Network, conv, linear


def ten_lines() -> nn.Module:
    """What a user types first."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU6(),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def twins() -> nn.Module:
    """Two layers with equal weights, in two places of memory."""
    first, second = conv(3, 3), conv(3, 3)
    second.load_state_dict(first.state_dict())
    return nn.Sequential(first, nn.ReLU(), second, nn.Flatten(), linear(192))


def tied() -> nn.Module:
    """Two layers that share one parameter, each with a BatchNorm of its own."""
    net = shared_conv()
    net.second = conv(3, 3, bias=False)
    net.second.weight = net.conv.weight
    net.function = lambda net, x: net.bn2(net.second(net.bn1(net.conv(x)).relu()))
    return net


def shared_conv() -> Net:
    """One conv without bias called twice, a BatchNorm of its own behind each call."""
    return Net(
        lambda net, x: net.bn2(net.conv(net.bn1(net.conv(x)).relu())),
        conv=conv(3, 3, bias=False),
        bn1=nn.BatchNorm2d(3),
        bn2=nn.BatchNorm2d(3),
    )


#: Networks whose layers, weights or BatchNorms have something to them.
LAYERS: dict[str, Network] = {
    "ten-lines": Network(ten_lines),
    "linear-only": Network(lambda: linear(6, 3), (6,)),
    "linear-no-bias": Network(
        lambda: nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)),
        (6,),
    ),
    "linear-bn1d": Network(
        lambda: nn.Sequential(linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), linear(16)), (12,)
    ),
    "linear-3d": Network(
        lambda: Net(
            lambda net, x: net.head(net.inner(x).relu().flatten(1)),
            inner=linear(6, 7),
            head=linear(35),
        ),
        (5, 6),
    ),
    "linear-3d-ending": Network(lambda: nn.Sequential(linear(6, 7), nn.ReLU(), linear(7)), (5, 6)),
    "conv1d": Network(
        lambda: nn.Sequential(
            nn.Conv1d(4, 8, 3, padding=1),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            nn.Conv1d(8, 8, 3, stride=2, groups=4),
            nn.ReLU(),
            nn.Flatten(),
            linear(56),
        ),
        (4, 16),
    ),
    "conv-options": Network(
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=2, padding=2, dilation=2, groups=2),
            nn.ReLU(),
            nn.Conv2d(8, 8, (1, 5), padding=(0, 2), groups=8, bias=False),
            nn.ReLU(),
            nn.Flatten(),
            linear(200),
        ),
        (4, 9, 9),
    ),
    "padding-same": Network(
        lambda: nn.Sequential(
            conv(padding="same", bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 4, 5, padding="same"),
            nn.Conv2d(4, 4, 3, padding="valid"),
            nn.Flatten(),
            linear(144),
        )
    ),
    "padding-reflect": Network(
        lambda: nn.Sequential(
            conv(padding_mode="reflect"), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), linear()
        )
    ),
    "zero-pad": Network(
        lambda: nn.Sequential(
            conv(), nn.ReLU(), nn.ZeroPad2d(1), nn.Conv2d(8, 4, 3), nn.Flatten(), linear(256)
        )
    ),
    "bn-no-affine": Network(
        lambda: nn.Sequential(
            conv(bias=False), nn.BatchNorm2d(8, affine=False), nn.ReLU(), nn.Flatten(), linear()
        )
    ),
    "shared-conv": Network(lambda: shared_conv()),
    "shared-conv-one-bn": Network(
        lambda: Net(
            lambda net, x: net.conv(net.bn(net.conv(x)).relu()),
            conv=conv(3, 3),
            bn=nn.BatchNorm2d(3),
        )
    ),
    "conv-twice": Network(
        lambda: Net(lambda net, x: net.conv(net.conv(x).relu()), conv=conv(3, 3))
    ),
    "tied": Network(tied),
    "twins": Network(twins),
    "named-kernel": Network(
        lambda: Net(
            lambda net, x: net.bn(F.conv2d(x, net.kernel)).relu(),
            kernel=nn.Parameter(torch.randn(4, 3, 3, 3)),
            bn=nn.BatchNorm2d(4),
        )
    ),
    "top-level-weight": Network(
        lambda: Net(
            lambda net, x: net.bn(F.conv2d(x, net.weight, net.bias)).relu(),
            weight=nn.Parameter(torch.randn(4, 3, 3, 3)),
            bias=nn.Parameter(torch.randn(4)),
            bn=nn.BatchNorm2d(4),
        )
    ),
    "buffers": Network(
        lambda: Net(
            lambda net, x: F.conv2d(x, net.weight, net.bias).relu(),
            weight=torch.randn(4, 3, 3, 3),
            bias=torch.randn(4),
        )
    ),
}
