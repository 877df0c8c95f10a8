"""Small networks, each with one thing that users do; shared by the tests of graph to export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn.utils.parametrizations import weight_norm

from qutils import zoo
from qutils.calibration import Observation, observe
from qutils.graph import capture

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


#: Everything here is captured, simulated and (unless it says so elsewhere) exported in integers.
NETWORKS: dict[str, Network] = {
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
    "squeeze-excite": Network(
        lambda: Net(squeeze_excite, conv=conv(), gate=conv(8, 8, 1), head=linear())
    ),
    "ends-in-relu": Network(lambda: nn.Sequential(conv(), nn.ReLU())),
    "ends-in-conv": Network(lambda: nn.Sequential(conv(), nn.ReLU(), conv(8, 4))),
    "ends-in-flatten": Network(lambda: nn.Sequential(conv(), nn.ReLU(), conv(8, 4), nn.Flatten())),
    "ends-in-add": Network(lambda: Net(lambda net, x: net.conv(x) + x, conv=conv(3, 3))),
    "no-layers": Network(nn.Flatten),
}


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
        "aten.matmul in module 'matmul'",
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
    "add-number": (head_on(lambda net, x: net.conv(x) + 1), "aten.add in"),
    "add-alpha": (
        head_on(lambda net, x: torch.add(net.conv(x), net.conv(x).relu(), alpha=2)),
        "aten.add in",
    ),
    "subtract": (head_on(lambda net, x: net.conv(x) - net.conv(x).relu()), "aten.sub in"),
    "split": (head_on(lambda net, x: net.conv(x).chunk(2, 1)[0], 256), "aten.split in"),
    "pad-with-five": (
        Network(lambda: nn.Sequential(conv(), nn.ConstantPad2d(1, 5.0), nn.Conv2d(8, 4, 3))),
        "aten.pad in module '1'",
    ),
    "bn-first": (
        Network(lambda: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), conv())),
        "aten.batch_norm in module '0'",
    ),
    "bn-over-rows": (  # the channels of BatchNorm1d are the 5 rows, those of the layer the last
        Network(
            lambda: nn.Sequential(linear(6, 5), nn.BatchNorm1d(5), nn.Flatten(), linear(25)),
            (5, 6),
        ),
        "aten.batch_norm in module '1'",
    ),
    "weight-norm": (Network(lambda: nn.Sequential(weight_norm(conv()))), "aten._weight_norm in"),
    "group-norm": (
        Network(lambda: nn.Sequential(conv(), nn.GroupNorm(2, 8))),
        "aten.group_norm in module '1'",
    ),
    "conv-transpose": (
        Network(lambda: nn.Sequential(conv(), nn.ConvTranspose2d(8, 4, 2, 2))),
        "aten.conv_transpose2d in module '1'",
    ),
    "pool-to-2x2": (
        Network(lambda: nn.Sequential(conv(), nn.AdaptiveAvgPool2d(2))),
        "aten.adaptive_avg_pool2d in module '1'",
    ),
}

#: The models of the zoo, untrained.
ZOO = {
    name: Network(lambda name=name: zoo.load(name, pretrained=False), zoo.entry(name).input_shape)
    for name in zoo.MODELS
}


@cache
def graph_of(name: str) -> GraphModule:
    """The captured graph of any network above; not to be changed."""
    if name in REFUSED:
        network = REFUSED[name][0]
        return capture(network.make(), network.inputs(2)).module
    return observed(name).captured.module


@cache
def observed(name: str) -> Observation:
    """The observation of a network above; ask for ``simulate`` to get a model of your own."""
    network = {**NETWORKS, **ZOO}[name]
    return observe(network.make(), network.inputs())
