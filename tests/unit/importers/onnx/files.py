"""ONNX files as other tools write them, made node by node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import nn

from tests.unit.graph.networks import Net


def save(
    path: Path,
    nodes: Sequence[NodeProto],
    tensors: dict[str, np.ndarray],
    shape: Sequence[int | str] = ("n", 3, 8, 8),
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
    result: int = TensorProto.FLOAT,
    **options: object,
) -> Path:
    """A file ``x -> y`` of these nodes and stored tensors."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", result, None)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in tensors.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, path, **options)
    return path


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def channels_last(
    path: Path, side: int | str = 16, batch: int | str = "unk__0", opset: int = 15
) -> Path:
    """A small MobileNet as Keras networks come out of their converter: NHWC, padding by word."""
    node = helper.make_node
    same = {"auto_pad": "SAME_UPPER"}
    tensors = {
        "stem/kernel": normal(8, 3, 3, 3),
        "stem/bias": normal(8),
        "dw/kernel": normal(8, 1, 3, 3, seed=1),
        "bn/gamma": normal(8) + 1,
        "bn/beta": normal(8, seed=2),
        "bn/mean": normal(8, seed=3),
        "bn/variance": normal(8) ** 2 + 0.5,
        "pw/kernel": normal(16, 8, 1, 1),
        "pw/bias": normal(1, 16, 1, 1),
        "dense/kernel": normal(16, 10),
        "dense/bias": normal(10),
        "zero": np.float32(0),
        "six": np.float32(6),
    }
    axes, attributes = ["axes"] * (opset >= 18), {} if opset >= 18 else {"axes": [1, 2]}
    if opset >= 18:
        tensors["axes"] = np.array([1, 2])
    norm = [f"bn/{name}" for name in ("gamma", "beta", "mean", "variance")]
    nodes = [
        node("Transpose", ["x"], ["t"], "net/stem/Conv2D__6", perm=[0, 3, 1, 2]),
        node("Conv", ["t", "stem/kernel", "stem/bias"], ["c1"], "a", strides=[2, 2], **same),
        node("Clip", ["c1", "zero", "six"], ["r1"], "net/relu6"),
        node("Conv", ["r1", "dw/kernel"], ["c2"], "b", group=8, **same),
        node("BatchNormalization", ["c2", *norm], ["b2"], "net/bn", epsilon=1e-3),
        node("Relu", ["b2"], ["r2"], "net/relu"),
        node("Conv", ["r2", "pw/kernel"], ["c3"], "c"),
        node("Add", ["c3", "pw/bias"], ["a3"], "net/pw/BiasAdd"),
        node("Relu", ["a3"], ["r3"], "net/pw_relu"),
        node("Transpose", ["r3"], ["r3t"], "back", perm=[0, 2, 3, 1]),
        node("ReduceMean", ["r3t", *axes], ["g"], "net/gap", keepdims=0, **attributes),
        node("MatMul", ["g", "dense/kernel"], ["d"], "net/dense/MatMul"),
        node("Add", ["d", "dense/bias"], ["y"], "net/dense/BiasAdd"),
    ]
    return save(path, nodes, tensors, (batch, side, side, 3), opset)


def small_network() -> nn.Module:
    """Conv, BatchNorm, ReLU6, sum, unequal padding, pooling, nearest upsampling, linear."""

    def forward(net: Net, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(net.norm(net.first(x)))
        y = y + nn.functional.relu6(net.depthwise(y))
        y = torch.max_pool2d(nn.functional.pad(y, (0, 1, 0, 1)), 2, 1)
        y = nn.functional.avg_pool2d(nn.functional.interpolate(y, scale_factor=2.0), 2)
        return net.head(y.view(y.size(0), -1))

    torch.manual_seed(0)
    net = Net(
        forward,
        first=nn.Conv2d(3, 8, 3, stride=2, padding=1),
        norm=nn.BatchNorm2d(8),
        depthwise=nn.Conv2d(8, 8, 3, padding=1, groups=8),
        head=nn.Linear(128, 10),
    )
    net.norm.running_mean.normal_()
    net.norm.running_var.uniform_(0.5, 2)
    return net.eval()
