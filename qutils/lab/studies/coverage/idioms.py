"""Idioms: small networks around one family of operators each, as today's networks use them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layer = Callable[[Tensor], Tensor]
#: Channels of an idiom's feature maps; their side is half that of the image.
WIDTH = 16


class Between(nn.Module):
    """``conv -> idiom -> conv -> mean -> linear`` on images ``[N, 3, 24, 24]``; logits ``[N, 10]``.

    The idiom maps ``[N, 16, 12, 12]`` to a feature map of ``out`` channels and any size.
    """

    def __init__(self, idiom: nn.Module, out: int = WIDTH) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTH, 3, 2, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()
        )
        self.idiom = idiom
        self.neck = nn.Conv2d(out, 2 * WIDTH, 3, padding=1)
        self.head = nn.Linear(2 * WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.neck(self.idiom(self.stem(x))).relu()
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Layer) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Tokens(nn.Module):
    """``body`` on the tokens ``[N, 144, 16]`` of a feature map, added to them."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.body(tokens)
        arranged: Tensor = tokens.transpose(1, 2).reshape(x.shape)
        return arranged


class Attention(nn.Module):
    """Self-attention with two heads: ``written`` as matmul and softmax, einsum, or the operator."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self.written = written
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4).unbind()
        scale = (WIDTH // 2) ** -0.5
        if self.written == "operator":
            mixed = F.scaled_dot_product_attention(q, k, v)
        elif self.written == "einsum":
            weights = (torch.einsum("nhqd,nhkd->nhqk", q, k) * scale).softmax(-1)
            mixed = torch.einsum("nhqk,nhkd->nhqd", weights, v)
        else:
            mixed = ((q @ k.transpose(-2, -1)) * scale).softmax(-1) @ v
        attended: Tensor = self.out(mixed.transpose(1, 2).reshape(n, length, WIDTH))
        return attended


class RmsNorm(nn.Module):
    """``x rsqrt(mean(x^2) + eps) gain``, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.gain


class Recurrent(nn.Module):
    """An LSTM or GRU whose steps are the 12 rows of a feature map, ``[N, 144, 16]`` as tokens."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.cell = cell(12 * WIDTH, 12 * WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.cell(x.reshape(-1, 12, 12 * WIDTH))[0]
        return outputs.reshape(x.shape)


class Standardized(nn.Conv2d):
    """A convolution whose filters have mean 0 and variance 1, as weight standardization does."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w / 12, self.bias, self.stride, self.padding)


class TokenIds(nn.Module):
    """Token ids ``[N, 32]`` -> embedding -> convolution along the tokens -> logits ``[N, 10]``."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(200, WIDTH)
        self.conv, self.head = nn.Conv1d(WIDTH, 32, 3, padding=1), nn.Linear(32, 10)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.conv(self.table(input_ids).transpose(1, 2)).relu()
        logits: Tensor = self.head(x.mean(-1))
        return logits


class Volume(nn.Module):
    """``[N, 3, 24, 24]`` seen as 8 slices of 9 rows by the two convolutions of three axes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(3, 8, 3, padding=1), nn.Conv3d(8, 16, 3, 2, 1)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x.reshape(-1, 3, 8, 3, 24)).relu()).relu()
        logits: Tensor = self.head(x.mean((2, 3, 4)))
        return logits


def _mlp(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 32), activation, nn.Linear(32, WIDTH))


def _shuffled(x: Tensor) -> Tensor:
    left, right = x.chunk(2, 1)
    mixed = torch.stack((left, right), 2).flatten(1, 2).roll((1, 1), (2, 3))
    return F.pixel_unshuffle(F.pixel_shuffle(mixed, 2), 2)


def _arithmetic(x: Tensor) -> Tensor:
    spread = (x - x.mean((2, 3), keepdim=True)).pow(2).mean((2, 3), keepdim=True)
    return torch.clamp(x / torch.sqrt(spread + 1.0), -0.5, 2.5) * 2 - x.sum(1, keepdim=True) / 16


def _padded_pool(x: Tensor) -> Tensor:
    return (
        F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 2)
        + F.avg_pool2d(F.pad(x, (1, 2, 1, 2)), 3, 2, ceil_mode=True)[:, :, :6, :6]
    )


#: Idiom -> what makes its network. Images ``[N, 3, 24, 24]``, but for ``embedding``.
IDIOMS: dict[str, Callable[[], nn.Module]] = {
    "hard_swish": lambda: Between(nn.Sequential(nn.Hardswish(), nn.Hardsigmoid())),
    "gelu": lambda: Between(Tokens(_mlp(nn.GELU()))),
    "gelu_tanh": lambda: Between(Tokens(_mlp(nn.GELU(approximate="tanh")))),
    "tanh": lambda: Between(nn.Tanh()),
    "prelu": lambda: Between(nn.PReLU(WIDTH)),
    "softplus": lambda: Between(nn.Softplus()),
    "mish": lambda: Between(nn.Mish()),
    "elu": lambda: Between(nn.ELU()),
    "layer_norm": lambda: Between(Tokens(nn.Sequential(nn.LayerNorm(WIDTH), _mlp(nn.ReLU())))),
    "group_norm": lambda: Between(nn.Sequential(nn.GroupNorm(4, WIDTH), nn.ReLU())),
    "instance_norm": lambda: Between(nn.InstanceNorm2d(WIDTH, affine=True)),
    "rms_norm": lambda: Between(Tokens(nn.Sequential(RmsNorm(), _mlp(nn.ReLU())))),
    "attention": lambda: Between(Tokens(Attention("products"))),
    "attention_operator": lambda: Between(Tokens(Attention("operator"))),
    "attention_einsum": lambda: Between(Tokens(Attention("einsum"))),
    "embedding": TokenIds,
    "arithmetic": lambda: Between(Call(_arithmetic)),
    "shuffles": lambda: Between(Call(_shuffled)),
    "transposed_convolution": lambda: Between(nn.ConvTranspose2d(WIDTH, WIDTH, 4, 2, 1)),
    "bilinear_resize": lambda: Between(nn.Upsample(scale_factor=1.5, mode="bilinear")),
    "adaptive_pool": lambda: Between(nn.AdaptiveAvgPool2d(5)),
    "padded_pool": lambda: Between(Call(_padded_pool)),
    "conv3d": Volume,
    "lstm": lambda: Between(Tokens(Recurrent(nn.LSTM))),
    "gru": lambda: Between(Tokens(Recurrent(nn.GRU))),
    "weight_standardization": lambda: Between(Standardized(WIDTH, WIDTH, 3, padding=1)),
}
