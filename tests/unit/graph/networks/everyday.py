"""Networks as people bring them, ten lines each: tutorials, blocks of well-known families."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.unit.graph.networks.base import Net, Network, conv, head_on, linear


def tutorial(net: Net, x: Tensor) -> Tensor:
    """The ReLU behind the pooling, dropout, ``view(-1, n)``: the first CNN of many courses."""
    y = F.relu(F.max_pool2d(net.c1(x), 2))
    y = F.relu(F.max_pool2d(net.drop(net.c2(y)), 2)).view(-1, 32)
    return net.f2(F.dropout(F.relu(net.f1(y)), training=net.training))


def pre_activation(net: Net, x: Tensor) -> Tensor:
    """BatchNorm and ReLU in front of the conv, the sum goes on as it is."""
    y = net.c1(x)
    y = y + net.c2(F.relu(net.n1(y)))
    y = y + net.c3(F.relu(y))
    return net.head(F.relu(net.n2(y)).mean((2, 3)))


def shuffle_unit(net: Net, x: Tensor) -> Tensor:
    """One half stays, the other is convolved; then the channels mix."""
    a, b = net.stem(x).chunk(2, dim=1)
    y = torch.cat([F.relu(a), F.relu(net.branch(b))], dim=1)
    n, c, h, w = y.size()
    return net.head(y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, -1))


def squeeze_expand(net: Net, x: Tensor) -> Tensor:
    """SiLU, and a squeeze-excite of linear layers, as the reference code of SE-Net writes it."""
    y = F.silu(net.conv(x))
    n, c, _, _ = y.size()
    gate = F.relu(net.down(F.adaptive_avg_pool2d(y, 1).view(n, c)))
    gate = torch.sigmoid(net.up(gate)).view(n, c, 1, 1)
    return net.head(F.adaptive_avg_pool2d(y * gate.expand_as(y), 1).flatten(1))


def shortcut_without_weights(net: Net, x: Tensor) -> Tensor:
    """ResNet's option A: the shortcut is cut in half and its channels are padded with zeros."""
    y = F.relu(net.c1(x))
    z = net.c2(y) + F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
    return net.head(F.relu(z).flatten(1))


def encoder_decoder(net: Net, x: Tensor) -> Tensor:
    fine = F.relu(net.down(x))
    coarse = F.relu(net.bottom(F.max_pool2d(fine, 2)))
    return net.out(torch.cat([fine, F.interpolate(coarse, scale_factor=2.0)], 1))


EVERYDAY: dict[str, Network] = {
    "tutorial": Network(
        lambda: Net(
            tutorial,
            c1=conv(),
            c2=conv(8, 8),
            drop=nn.Dropout2d(),
            f1=linear(32, 16),
            f2=linear(16, 10),
        )
    ),
    "pool-then-relu6": Network(
        lambda: nn.Sequential(
            *(conv(), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.ReLU6()),
            *(conv(8, 16), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.ReLU(), linear(64)),
        )
    ),
    "vgg": Network(  # pooled to 2x2, which it is already, then to 1x1 in two ways
        lambda: nn.Sequential(
            *(conv(), nn.ReLU(), nn.MaxPool2d(2), conv(8, 8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.AdaptiveAvgPool2d(2), nn.AdaptiveMaxPool2d(1), nn.Flatten(), linear(8)),
        )
    ),
    "pool-in-parts": Network(
        lambda: nn.Sequential(conv(), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), linear(128))
    ),
    "pool-to-3x3": Network(  # of 8x8: windows at unequal distances
        lambda: nn.Sequential(conv(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), linear(72))
    ),
    "avg-pool-divisor": Network(
        lambda: nn.Sequential(conv(), nn.AvgPool2d(2, divisor_override=3), conv(8, 4, 1))
    ),
    "pad-with-five": Network(
        lambda: nn.Sequential(conv(), nn.ConstantPad2d(1, 5.0), nn.Conv2d(8, 4, 3))
    ),
    "pad-of-tensorflow": Network(  # "same" padding of strided convs: below and on the right only
        lambda: Net(
            lambda net, x: net.head(
                F.relu6(net.c2(F.pad(F.relu(net.c1(F.pad(x, (0, 1, 0, 1)))), (0, 1, 0, 1)))).mean(
                    (2, 3)
                )
            ),
            c1=nn.Conv2d(3, 8, 3, stride=2),
            c2=nn.Conv2d(8, 8, 3, stride=2, groups=8),
            head=linear(8),
        )
    ),
    "pad-of-raw-values": head_on(
        lambda net, x: F.relu(net.c2(F.pad(net.conv(x), (1, 2, 3, 0)))),
        4 * 81,
        c2=lambda: nn.Conv2d(8, 4, 3),
    ),
    "shortcut-without-weights": Network(
        lambda: Net(
            shortcut_without_weights,
            c1=conv(),
            c2=conv(8, 16, stride=2),
            head=linear(256),
        )
    ),
    "pre-activation": Network(
        lambda: Net(
            pre_activation,
            c1=conv(),
            n1=nn.BatchNorm2d(8),
            c2=conv(8, 8),
            c3=conv(8, 8),
            n2=nn.BatchNorm2d(8),
            head=linear(8),
        )
    ),
    "norm-of-pictures": Network(
        lambda: nn.Sequential(
            *(nn.BatchNorm2d(3), conv(), nn.ReLU(), nn.BatchNorm2d(8, affine=False)),
            *(conv(8, 4), nn.Flatten(), linear(256)),
        )
    ),
    "norm-of-rows": Network(
        lambda: nn.Sequential(
            *(nn.BatchNorm1d(12), nn.Linear(12, 16, bias=False), nn.ReLU(), nn.BatchNorm1d(16)),
            *(nn.Dropout(), linear(16)),
        ),
        (12,),
    ),
    "norm-over-rows": Network(  # the channels of BatchNorm1d are the 5 rows
        lambda: nn.Sequential(linear(6, 5), nn.BatchNorm1d(5), nn.Flatten(), linear(25)), (5, 6)
    ),
    "shuffle-unit": Network(
        lambda: Net(shuffle_unit, stem=conv(), branch=conv(4, 4), head=linear())
    ),
    "squeeze-expand": Network(
        lambda: Net(squeeze_expand, conv=conv(), down=linear(8), up=linear(4, 8), head=linear(8))
    ),
    "series": Network(
        lambda: nn.Sequential(
            *(nn.Conv1d(4, 8, 3, padding=1), nn.MaxPool1d(2), nn.ReLU()),
            *(nn.Conv1d(8, 8, 3, padding=1), nn.ReLU(), nn.AvgPool1d(2)),
            *(nn.Conv1d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1)),
            *(nn.Flatten(), linear(8)),
        ),
        (4, 16),
    ),
    "mean-over-time": Network(
        lambda: Net(
            lambda net, x: net.head(F.relu(net.conv(x)).mean(-1)),
            conv=nn.Conv1d(4, 8, 3),
            head=linear(8),
        ),
        (4, 16),
    ),
    "encoder-decoder": Network(
        lambda: Net(encoder_decoder, down=conv(), bottom=conv(8, 8), out=conv(16, 2))
    ),
    "super-resolution": Network(
        lambda: nn.Sequential(conv(), nn.ReLU(), conv(8, 12), nn.PixelShuffle(2))
    ),
    "volume": Network(
        lambda: nn.Sequential(
            *(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2)),
            *(nn.Flatten(), linear(128)),
        ),
        (1, 4, 8, 8),
    ),
}
