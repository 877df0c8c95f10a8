from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from qutils.backends.onnxruntime.runtime import OnnxRuntime, optimized_ops
from qutils.errors import InvalidInputError
from qutils.integer import (
    INT32,
    bias_to_int32,
    conv_accumulate,
    fixed_point_multiplier,
    linear_accumulate,
    multiplier,
    requantize,
    requantize_fixed_point,
)

SX, ZX, SY, ZY = 0.0213, 119, 0.0457, 97


def save(
    path: Path, node: onnx.NodeProto, shape: list[int], tensors: dict[str, np.ndarray]
) -> Path:
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def draw(*shape: int, low: int, high: int) -> Tensor:
    return torch.randint(low, high + 1, shape, dtype=torch.int32)


def qparams_of(scale_w: Tensor) -> dict[str, np.ndarray]:
    weights = scale_w.numpy()
    return {
        "sx": np.float32(SX), "zx": np.uint8(ZX), "sy": np.float32(SY), "zy": np.uint8(ZY),
        "sw": weights, "zw": np.zeros(weights.shape, np.int8),
    }  # fmt: skip


CONVS = {
    "plain": {"i": 16, "o": 24, "kernel": 3, "padding": 1},
    "strided": {"i": 16, "o": 24, "kernel": 3, "stride": 2, "padding": 1},
    "no-padding": {"i": 7, "o": 5, "kernel": 5},
    "pointwise": {"i": 33, "o": 17, "kernel": 1},
    "grouped": {"i": 16, "o": 24, "kernel": 3, "padding": 1, "groups": 4},
    "depthwise": {"i": 24, "o": 24, "kernel": 3, "padding": 1, "groups": 24},
    "dilated": {"i": 8, "o": 8, "kernel": 3, "padding": 2, "dilation": 2},
}


@pytest.mark.parametrize("per_channel", [True, False], ids=["per_channel", "per_tensor"])
@pytest.mark.parametrize("conv", CONVS.values(), ids=CONVS)
def test_conv_equals_onnxruntime(tmp_path, conv, per_channel):
    i, o, kernel = conv["i"], conv["o"], conv["kernel"]
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | {
        key: value for key, value in conv.items() if key not in ("i", "o", "kernel")
    }
    w = draw(o, i // options["groups"], kernel, kernel, low=-127, high=127)
    bias = draw(o, low=-20_000, high=20_000)
    spread = 0.03 / w[0].numel() ** 0.5  # outputs of about 75 steps, a few saturated
    scale_w = spread * (torch.rand(o) + 0.2) if per_channel else torch.tensor(spread)
    node = helper.make_node(
        "QLinearConv",
        ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"],
        ["y"],
        strides=[options["stride"]] * 2,
        pads=[options["padding"]] * 4,
        dilations=[options["dilation"]] * 2,
        group=options["groups"],
    )
    tensors = qparams_of(scale_w) | {"w": w.numpy().astype(np.int8), "b": bias.numpy()}
    path = save(tmp_path / "conv.onnx", node, ["n", i, 14, 14], tensors)
    assert optimized_ops(path).counts["QLinearConv"] == 1

    x = draw(4, i, 14, 14, low=0, high=255)
    theirs = OnnxRuntime.load(path).run(x.numpy().astype(np.uint8))
    acc = conv_accumulate(x, ZX, w, bias, **options)
    m = multiplier(torch.tensor(SX), scale_w, torch.tensor(SY))
    mine = requantize(acc, m, ZY, 0, 255)
    assert np.array_equal(mine.numpy(), theirs)
    assert len(np.unique(theirs)) > 150  # neither all saturated nor all equal


def test_linear_equals_onnxruntime(tmp_path):
    w, bias = draw(10, 64, low=-127, high=127), draw(10, low=-20_000, high=20_000)
    scale_w = torch.rand(10) * 0.004 + 0.001
    node = helper.make_node(
        "QGemm",
        ["x", "sx", "zx", "w", "sw", "zw", "b", "sy", "zy"],
        ["y"],
        domain="com.microsoft",
        transB=0,
    )
    tensors = qparams_of(scale_w) | {"w": w.T.numpy().astype(np.int8), "b": bias.numpy()}
    path = save(tmp_path / "linear.onnx", node, ["n", 64], tensors)
    x = draw(300, 64, low=0, high=255)
    theirs = OnnxRuntime.load(path).run(x.numpy().astype(np.uint8))
    m = multiplier(torch.tensor(SX), scale_w, torch.tensor(SY))
    mine = requantize(linear_accumulate(x, ZX, w, bias), m, ZY, 0, 255)
    assert np.array_equal(mine.numpy(), theirs)
    assert len(np.unique(theirs)) > 50


def test_conv_by_its_definition():
    x, w = draw(1, 2, 4, 5, low=0, high=255), draw(3, 2, 3, 2, low=-8, high=7)
    zero_point_w = torch.tensor([0, 1, -2])
    bias = torch.tensor([5, -7, 0])
    found = conv_accumulate(x, 9, w, bias, zero_point_w=zero_point_w, padding=(1, 0))
    assert found.dtype == torch.int32
    assert found.shape == (1, 3, 4, 4)
    for o, i, j in product(range(3), range(4), range(4)):
        total = int(bias[o])
        for c, a, b in product(range(2), range(3), range(2)):
            if 0 <= i + a - 1 < 4:
                pixel = int(x[0, c, i + a - 1, j + b]) - 9
                total += (int(w[o, c, a, b]) - int(zero_point_w[o])) * pixel
        assert found[0, o, i, j] == total


def test_linear_is_a_pointwise_conv():
    x, w = draw(6, 12, low=0, high=255), draw(5, 12, low=-127, high=127)
    conv = conv_accumulate(x[:, :, None, None], 3, w[:, :, None, None], zero_point_w=2)
    assert torch.equal(linear_accumulate(x, 3, w, zero_point_w=2), conv[:, :, 0, 0])


def test_accumulators_beyond_int32_are_refused():
    x, w = torch.full((1, 1 << 16), 255), torch.full((1, 1 << 16), 127)
    with pytest.raises(InvalidInputError, match="do not fit the int32"):
        linear_accumulate(x, 0, w, torch.tensor([INT32.max]))
    assert linear_accumulate(x, 0, w).item() == 255 * 127 * (1 << 16)  # just fits: 2,122,383,360


def test_floats_are_refused():
    with pytest.raises(InvalidInputError, match="integers, got torch.float32"):
        linear_accumulate(torch.ones(1, 2), 0, torch.ones(1, 2, dtype=torch.int32))


def test_bias_beyond_int32_is_refused():
    with pytest.raises(InvalidInputError, match="larger scales"):
        bias_to_int32(torch.tensor([1.0]), torch.tensor(1e-5), torch.tensor(1e-5))


accumulators = st.integers(INT32.min, INT32.max)
multipliers = st.floats(2.0**-20, 0.9990234375, width=32)


@given(accumulators, multipliers, st.integers(0, 255))
def test_requantize_as_numpy_does(acc, m, zero_point):
    product = np.float32(acc) * np.float32(m)
    expected = np.clip(np.rint(product).astype(np.float64) + zero_point, 0, 255)
    found = requantize(torch.tensor([[acc]]), torch.tensor(m), zero_point, 0, 255)
    assert found.item() == expected


@given(st.lists(accumulators, min_size=2, max_size=2).map(sorted), multipliers)
def test_requantize_keeps_the_order(pair, m):
    low, high = requantize(torch.tensor([pair]), torch.tensor(m), 0, -128, 127)[0].tolist()
    assert -128 <= low <= high <= 127


def test_halves_go_to_the_even_integer():
    acc = torch.tensor([[1, 3, 5, -1, -3]])
    assert requantize(acc, torch.tensor(0.5), 0, -128, 127).tolist() == [[0, 2, 2, 0, -2]]


def gemmlowp(acc: int, mantissa: int, shift: int) -> int:
    """The reference, in Python's unbounded integers."""
    wide = max(INT32.min, min(INT32.max, acc << max(shift, 0)))
    ab = wide * mantissa
    total = ab + ((1 << 30) if ab >= 0 else 1 - (1 << 30))
    high = abs(total) // (1 << 31) * (1 if total >= 0 else -1)
    right = max(-shift, 0)
    whole, remainder = high >> right, high - ((high >> right) << right)
    mask = (1 << right) - 1
    return whole + (remainder > (mask >> 1) + (high < 0))


@given(accumulators, st.floats(2.0**-30, 100.0, width=32))
def test_fixed_point_as_gemmlowp_does(acc, m):
    fixed = fixed_point_multiplier(torch.tensor(m))
    found = requantize_fixed_point(torch.tensor([[acc]]), fixed, 0, INT32.min, INT32.max)
    assert found.item() == gemmlowp(acc, fixed.mantissa.item(), fixed.shift.item())


@given(st.floats(2.0**-20, 2.0**20, width=32))
def test_fixed_point_holds_a_float32_exactly(m):
    fixed = fixed_point_multiplier(torch.tensor(m))
    assert 1 << 30 <= fixed.mantissa.item() < 1 << 31
    assert fixed.mantissa.item() * 2.0 ** (fixed.shift.item() - 31) == m


def test_fixed_point_differs_by_one_near_halves_alone():
    acc = torch.arange(-20_000, 20_001)[None]
    m = torch.tensor(0.0123)
    ours = requantize(acc, m, 0, -128, 127)
    theirs = requantize_fixed_point(acc, fixed_point_multiplier(m), 0, -128, 127)
    exact = (acc.double() * m.double()).clamp(-128, 127)
    differs = ours != theirs
    assert (ours - theirs).abs().max() <= 1
    to_half = ((exact - exact.floor()) - 0.5).abs()
    assert (to_half[differs] < 0.01).all()
    halves = torch.arange(-51, 52, 2)[None]  # exact halves: even against away from zero
    ours = requantize(halves, torch.tensor(0.5), 0, -128, 127)
    theirs = requantize_fixed_point(halves, fixed_point_multiplier(torch.tensor(0.5)), 0, -128, 127)
    assert (ours != theirs).float().mean() == pytest.approx(0.5, abs=0.02)


def test_fixed_point_per_channel():
    m = torch.tensor([0.5, 0.25])
    acc = torch.tensor([[[4, 8]], [[4, 8]]]).permute(1, 0, 2)  # [1, 2, 2]
    fixed = fixed_point_multiplier(m)
    assert requantize_fixed_point(acc, fixed, 1, 0, 255).tolist() == [[[3, 5], [2, 3]]]


@pytest.mark.parametrize("bad", [-0.5, float("nan"), float("inf"), 2.0**31])
def test_impossible_multipliers_are_refused(bad):
    with pytest.raises(InvalidInputError, match="multiplier must be finite"):
        fixed_point_multiplier(torch.tensor(bad))


def test_a_vanishing_multiplier_is_zero():
    fixed = fixed_point_multiplier(torch.tensor([2.0**-40, 0.0]))
    assert fixed.mantissa.tolist() == [0, 0]
    assert fixed.shift.tolist() == [0, 0]
