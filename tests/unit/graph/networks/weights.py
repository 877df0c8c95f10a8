"""Networks whose weights are computed from parameters: normalized, standardized, masked."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tests.unit.graph.networks.base import Net, Network, conv, linear


class Standardized(nn.Conv2d):
    """A convolution whose filters have mean 0 and spread 1 (Qiao et al. 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        spread = self.weight.var((1, 2, 3), keepdim=True, unbiased=False)
        weight = (self.weight - mean) / torch.sqrt(spread + 1e-5)
        return self._conv_forward(x, weight, self.bias)


def scaled_norm(net: Net, x: Tensor) -> Tensor:
    y = F.batch_norm(net.conv(x), net.mean, net.variance, net.gamma * 3)
    return net.head(y.flatten(1))


WEIGHTS: dict[str, Network] = {
    "weight-norm": Network(
        lambda: nn.Sequential(
            *(weight_norm(conv()), nn.BatchNorm2d(8), nn.ReLU(), weight_norm(conv(8, 4))),
            *(nn.Flatten(), linear(256)),
        )
    ),
    "standardized": Network(
        lambda: nn.Sequential(
            *(Standardized(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
            *(nn.Flatten(), linear(8)),
        )
    ),
    "gamma-computed-from-a-parameter": Network(
        lambda: Net(
            scaled_norm,
            conv=conv(),
            head=linear(),
            mean=torch.zeros(8),
            variance=torch.ones(8),
            gamma=nn.Parameter(torch.linspace(0.5, 2.0, 8)),
        )
    ),
}
