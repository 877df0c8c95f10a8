"""A convolution worked out on paper, and the same in ONNX Runtime."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from qutils.backends.onnxruntime.runtime import OnnxRuntime
from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.by_hand import ConvByHand, conv_by_hand
from qutils.numerics import affine
from qutils.numerics.schemes import Scheme

#: Integers 0..15 of scale 1/2 and zero point 2: real numbers from -1 to 6.5.
X = torch.tensor([
    [2, 2,  2, 7,  7],
    [2, 2,  2, 7,  7],
    [2, 2, 12, 7, 15],
    [2, 0,  2, 7,  7],
    [2, 2,  2, 7,  7],
])  # fmt: skip
#: Integers -7..7 of scale 1/4.
W = torch.tensor([[1, 0, -1], [7, 0, -2], [1, 0, -1]])
BIAS = 0.375  # three steps of 1/2 * 1/4


@pytest.fixture
def conv() -> ConvByHand:
    """Output from -1.5 to 6: scale 1/2, zero point 3, so M = 1/4."""
    activations, weights = Scheme(4, False, False), Scheme(4, True, True)
    return conv_by_hand((X - 2) * 0.5, W * 0.25, BIAS, activations, weights, (-1.5, 6.0))


def test_the_integers_are_those_on_paper(conv):
    assert torch.equal(conv.x, X.int())
    assert torch.equal(conv.w, W.int())
    assert conv.bias == 3
    assert conv.multiplier == 0.25
    assert (int(conv.qx.zero_point), int(conv.qy.zero_point)) == (2, 3)


def test_one_window_on_paper(conv):
    window = conv.window(2, 1)
    assert window.x.tolist() == [[2, 2, 2], [2, 2, 12], [2, 0, 2]]
    assert window.products.tolist() == [[2, 0, -2], [14, 0, -24], [2, 0, -2]]
    assert window.sum == -10
    assert window.correction == -2 * 5  # the filter sums to 5
    assert window.acc == -10 - 10 + 3
    assert window.scaled == -4.25
    assert window.y == 0  # -4 + 3 lies below the grid
    assert conv.saturated[2, 1]


def test_a_window_at_the_border_is_padded_with_the_zero_point(conv):
    window = conv.window(0, 0)
    assert window.x.tolist() == [[2, 2, 2], [2, 2, 2], [2, 2, 2]]
    assert (window.acc, window.y) == (3, 4)  # nothing but bias: 3 / 4 rounds to 1, and 3


def test_every_accumulator_is_its_sum(conv):
    for row, column in product(range(5), range(5)):
        window = conv.window(row, column)
        assert window.acc == window.sum + window.correction + window.bias
        wanted = min(15, max(0, round(window.acc / 4) + 3))  # round() goes to the even, too
        assert window.y == wanted
        assert bool(conv.saturated[row, column]) == (not 0 <= round(window.acc / 4) + 3 <= 15)


def test_real_numbers_on_the_grid_lose_nothing_before_the_output(conv):
    assert torch.equal(conv.acc * 0.125, conv.exact)


def onnx_conv(conv: ConvByHand, path: Path) -> Path:
    unsigned = conv.qx.qmin == 0
    integer = np.uint8 if unsigned else np.int8
    kind = TensorProto.UINT8 if unsigned else TensorProto.INT8
    tensors = {
        "sx": np.float32(conv.qx.scale), "zx": integer(conv.qx.zero_point),
        "w": conv.w.numpy().astype(np.int8)[None, None],
        "sw": np.float32(conv.qw.scale), "zw": np.int8(0),
        "sy": np.float32(conv.qy.scale), "zy": integer(conv.qy.zero_point),
        "b": np.array([conv.bias], np.int32),
    }  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", ["x", *tensors], ["y"], pads=[1, 1, 1, 1])],
        "conv",
        [helper.make_tensor_value_info("x", kind, [1, 1, 5, 5])],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )
    return path


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bits", [2, 4, 7, 8])
@pytest.mark.parametrize("symmetric", [False, True], ids=["affine", "symmetric"])
@pytest.mark.parametrize("share", [1.0, 0.3], ids=["whole", "saturating"])
def test_onnxruntime_computes_the_same(tmp_path, share, symmetric, bits, seed):
    """A kernel of 8 bits clamps at 8 bits; the narrower clamp after it is ours to add."""
    generator = torch.Generator().manual_seed(seed)
    x, w = torch.randn(5, 5, generator=generator), torch.randn(3, 3, generator=generator)
    activations, weights = Scheme(bits, symmetric, symmetric), Scheme(bits, True, True)
    output = (-4 * share, 4 * share)
    conv = conv_by_hand(x, w, 0.3, activations, weights, output)
    runtime = OnnxRuntime.load(onnx_conv(conv, tmp_path / "conv.onnx"))
    integers = conv.x.numpy().astype(np.int8 if symmetric else np.uint8)
    theirs = runtime.run(integers[None, None])[0, 0]
    assert np.array_equal(np.clip(theirs, conv.qy.qmin, conv.qy.qmax), conv.y.numpy())
    if share < 1:
        assert conv.saturated.any()


def test_the_output_stands_for_the_float_convolution():
    x, w = torch.randn(5, 5), torch.randn(3, 3)
    conv = conv_by_hand(x, w, 0.3, Scheme(8, False, False), Scheme(8, True, True))
    assert torch.equal(conv.dequantized, affine.dequantize(conv.y, conv.qy))
    assert (conv.dequantized - conv.exact).abs().max() < 0.02 * conv.exact.abs().max()


@pytest.mark.parametrize(
    ("x", "w"),
    [(torch.zeros(1, 5, 5), torch.zeros(3, 3)), (torch.zeros(5, 5), torch.zeros(2, 2))],
    ids=["three-axes", "even-filter"],
)
def test_other_shapes_are_refused(x, w):
    with pytest.raises(InvalidInputError, match="k odd"):
        conv_by_hand(x, w, 0.0, Scheme(8, False, False), Scheme(8, True, True))


def test_affine_weights_and_places_outside_are_refused(conv):
    with pytest.raises(InvalidInputError, match="symmetric and signed"):
        conv_by_hand(torch.ones(5, 5), torch.ones(3, 3), 0.0, Scheme(8, False, False),
                     Scheme(8, True, False))  # fmt: skip
    with pytest.raises(InvalidInputError, match=r"rows 0\.\.4 and columns 0\.\.4, not \(5, 0\)"):
        conv.window(5, 0)
