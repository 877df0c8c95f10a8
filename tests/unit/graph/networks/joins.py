"""Networks as detectors have them: SiLU behind each convolution, joins of halves and of pools."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.unit.graph.networks.base import Net, Network, conv, linear


def of_halves(net: Net, x: Tensor) -> Tensor:
    """Two slices of one tensor, and what a convolution makes of one of them."""
    a, b = F.silu(net.stem(x)).chunk(2, 1)
    return net.head(F.relu(net.out(torch.cat([a, b, net.branch(b)], 1))).flatten(1))


def of_convolutions(net: Net, x: Tensor) -> Tensor:
    """Two layers that only the join reads."""
    y = F.relu(net.stem(x))
    return net.head(F.relu(net.out(torch.cat([net.one(y), net.other(y)], 1))).flatten(1))


def of_pools(net: Net, x: Tensor) -> Tensor:
    """One tensor, pooled once and twice: spatial pyramid pooling."""
    y = F.relu(net.stem(x))
    z = F.max_pool2d(y, 3, 1, 1)
    y = torch.cat([y, z, F.max_pool2d(z, 3, 1, 1)], 1)
    return net.head(F.relu(net.out(y)).flatten(1))


JOINS: dict[str, Network] = {
    "silu": Network(
        lambda: nn.Sequential(
            *(conv(), nn.SiLU(), conv(8, 8, groups=8), nn.SiLU()),
            *(conv(8, 4), nn.ReLU(), nn.Flatten(), linear(256)),
        )
    ),
    "join-of-halves": Network(
        lambda: Net(of_halves, stem=conv(), branch=conv(4, 4), out=conv(12, 4), head=linear(256))
    ),
    "join-of-convolutions": Network(
        lambda: Net(
            of_convolutions,
            stem=conv(),
            one=conv(8, 4),
            other=conv(8, 4, 1),
            out=conv(8, 4),
            head=linear(256),
        )
    ),
    "join-of-pools": Network(
        lambda: Net(of_pools, stem=conv(3, 4), out=conv(12, 4, 1), head=linear(256))
    ),
}
