import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torchao.quantization import quant_primitives as torchao

from qutils.errors import InvalidInputError
from qutils.numerics import affine
from qutils.numerics.schemes import Scheme
from qutils.numerics.ste import fake_quantize_ste

SCHEMES = [
    pytest.param(Scheme(bits=8, signed=False, symmetric=False), id="u8-affine"),
    pytest.param(Scheme(bits=8, signed=True, symmetric=False), id="s8-affine"),
    pytest.param(Scheme(bits=8, signed=True, symmetric=True), id="s8-symmetric"),
    pytest.param(Scheme(bits=8, signed=False, symmetric=True), id="u8-symmetric"),
    pytest.param(Scheme(bits=4, signed=True, symmetric=True), id="s4-symmetric"),
    pytest.param(Scheme(bits=3, signed=False, symmetric=False), id="u3-affine"),
    pytest.param(Scheme(bits=2, signed=True, symmetric=True), id="s2-symmetric"),
]
schemes = st.builds(Scheme, bits=st.integers(2, 8), signed=st.booleans(), symmetric=st.booleans())
magnitudes = st.floats(-(2.0**100), 2.0**100, width=32)  # 1e30
tensors = st.lists(magnitudes, min_size=1, max_size=20).map(torch.tensor)


def minmax(x: torch.Tensor, scheme: Scheme) -> affine.QParams:
    return affine.qparams(x.min(), x.max(), scheme)


def assert_equal_except_ties(mine, other, x, scale):
    """Equal, save where ``x / scale`` lies halfway to float accuracy: there one step apart."""
    steps = ((mine - other).abs() / scale).round()
    halfway = ((x / scale).frac().abs() - 0.5).abs() < 1e-3
    assert steps[~halfway].eq(0).all()
    assert steps.max() <= 1


# Oracles ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_against_torch_per_tensor(scheme):
    torch.manual_seed(0)
    x = torch.randn(5000) * 3 + 1
    q = affine.qparams(torch.tensor(-4.0), torch.tensor(6.5), scheme)
    args = (q.scale.item(), int(q.zero_point), q.qmin, q.qmax)
    theirs = torch.fake_quantize_per_tensor_affine(x, *args)
    assert_equal_except_ties(affine.fake_quantize(x, q), theirs, x, q.scale)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_against_torch_per_channel(scheme, axis):
    torch.manual_seed(1)
    x = torch.randn(6, 5, 4, 3)
    rows = affine.to_rows(x, axis, None)
    q = affine.qparams(rows.amin(1), rows.amax(1), scheme, axis)
    theirs = torch.fake_quantize_per_channel_affine(x, q.scale, q.zero_point, axis, q.qmin, q.qmax)
    scale = affine.expand(q.scale, x, axis, None)
    assert_equal_except_ties(affine.fake_quantize(x, q), theirs, x, scale)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_full_range_changes_neither_scale_nor_zero_point(signed):
    x = torch.tensor([-0.3, 1.0, -2.0])
    narrow, full = (minmax(x, Scheme(8, signed, True, full_range=f)) for f in (False, True))
    assert torch.equal(narrow.scale, full.scale)
    assert torch.equal(narrow.zero_point, full.zero_point)
    assert full.qmin == narrow.qmin - 1
    assert affine.quantize(torch.tensor(-9.0), full).item() == full.qmin


@pytest.mark.parametrize("group_size", [None, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])
@pytest.mark.parametrize("bits", [8, 4])
def test_against_torchao(bits, symmetric, group_size):
    torch.manual_seed(2)
    x = torch.randn(6, 16)
    granularity = "per_group" if group_size else "per_channel"
    scheme = Scheme(bits, True, symmetric, granularity, group_size)
    rows = affine.to_rows(x, 0, group_size)
    shape = (6, -1) if group_size else (6,)
    q = affine.qparams(rows.amin(1).view(shape), rows.amax(1).view(shape), scheme, axis=0)

    mapping = torchao.MappingType.SYMMETRIC if symmetric else torchao.MappingType.ASYMMETRIC
    block = (1, group_size or 16)
    limits = (scheme.qmin, scheme.qmax)
    scale, zero_point = torchao.choose_qparams_affine(
        x, mapping, block, torch.int8, *limits, eps=affine.MIN_SCALE, zero_point_dtype=torch.int32
    )
    torch.testing.assert_close(q.scale.flatten(), scale.flatten(), rtol=1e-6, atol=0)
    assert torch.equal(q.zero_point.flatten(), zero_point.flatten())
    integers = torchao.quantize_affine(x, block, scale, zero_point, torch.int8, *limits)
    mine = affine.quantize(x, q)
    steps = affine.expand(q.scale, x, 0, group_size)
    assert_equal_except_ties(mine * steps, integers * steps, x, steps)
    back = torchao.dequantize_affine(integers, block, scale, zero_point, torch.int8, *limits)
    torch.testing.assert_close(affine.dequantize(integers.int(), q), back, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [None, 0, 1], ids=["per_tensor", "axis0", "axis1"])
@pytest.mark.parametrize("signed", [True, False], ids=["int8", "uint8"])
def test_against_onnxruntime(signed, axis):
    torch.manual_seed(3)
    x = torch.randn(8, 12) * 5
    x[0, :3] = torch.tensor([0.0, 60.0, -60.0])  # clipped
    scheme = Scheme(signed=signed, symmetric=False)
    low = torch.tensor(-9.0) if axis is None else -torch.rand(x.shape[axis]) * 9
    q = affine.qparams(low, low.abs() + 1.0, scheme, axis)
    assert np.array_equal(onnx_quantize(x, q, signed), affine.quantize(x, q).numpy())


def onnx_quantize(x: torch.Tensor, q: affine.QParams, signed: bool) -> np.ndarray:
    """The integers of ONNX Runtime's QuantizeLinear."""
    integer = np.int8 if signed else np.uint8
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["y"], axis=q.axis or 0)
    constants = [
        onnx.numpy_helper.from_array(q.scale.numpy(), "scale"),
        onnx.numpy_helper.from_array(q.zero_point.numpy().astype(integer), "zero_point"),
    ]
    kind = TensorProto.INT8 if signed else TensorProto.UINT8
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    outputs = [helper.make_tensor_value_info("y", kind, x.shape)]
    graph = helper.make_graph([node], "quantize", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    integers: np.ndarray = session.run(None, {"x": x.numpy()})[0]
    return integers


# Properties ---------------------------------------------------------------------------------------


@given(tensors, schemes)
@settings(deadline=None, max_examples=200)
def test_error_is_at_most_half_a_step_inside_the_range(x, scheme):
    q = minmax(x, scheme)
    slack = 1e-6 * x.abs().max()
    assert ((affine.fake_quantize(x, q) - x).abs() <= q.scale / 2 + slack).all()


@given(tensors, schemes)
@settings(deadline=None, max_examples=200)
def test_quantizing_twice_changes_nothing(x, scheme):
    q = minmax(x, scheme)
    once = affine.fake_quantize(x, q)
    assert torch.equal(affine.fake_quantize(once, q), once)


@given(tensors, tensors, schemes)
@settings(deadline=None)
def test_order_is_kept_also_outside_the_range(x, range_of, scheme):
    integers = affine.quantize(x.sort().values, minmax(range_of, scheme))
    assert (integers.diff() >= 0).all()
    assert integers.min() >= scheme.qmin
    assert integers.max() <= scheme.qmax


@given(tensors, schemes)
@settings(deadline=None)
def test_zero_is_exact(x, scheme):
    q = minmax(x, scheme)
    assert q.qmin <= q.zero_point <= q.qmax
    assert affine.fake_quantize(torch.zeros(1), q).item() == 0.0


@given(tensors, st.integers(2, 8))
@settings(deadline=None)
def test_symmetric_is_odd(x, bits):
    q = minmax(x, Scheme(bits, signed=True, symmetric=True))
    assert torch.equal(affine.quantize(-x, q), -affine.quantize(x, q))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_signed_and_unsigned_affine_agree(scheme):
    x = torch.linspace(-1, 3, 101)
    other = Scheme(scheme.bits, not scheme.signed, scheme.symmetric)
    torch.testing.assert_close(
        affine.fake_quantize(x, minmax(x, scheme)), affine.fake_quantize(x, minmax(x, other))
    )


# Granularity --------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1], ids=["axis0", "axis1", "last"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_per_channel_is_per_tensor_channel_by_channel(scheme, axis):
    torch.manual_seed(4)
    x = torch.randn(4, 5, 3, 3) * torch.logspace(-3, 3, 5)[None, :, None, None]
    rows = affine.to_rows(x, axis, None)
    together = affine.fake_quantize(x, affine.qparams(rows.amin(1), rows.amax(1), scheme, axis))
    for mine, channel in zip(together.unbind(axis), x.unbind(axis), strict=True):
        assert torch.equal(mine, affine.fake_quantize(channel, minmax(channel, scheme)))


@pytest.mark.parametrize("axis", [0, 1], ids=["axis0", "axis1"])
def test_per_group_is_per_tensor_group_by_group(axis):
    torch.manual_seed(5)
    x = torch.randn(4, 4, 3, 3)
    scheme = Scheme(4, True, True, "per_group", 6)
    alone = Scheme(4, True, True)
    rows = affine.to_rows(x, axis, 6)  # [4 * 6, 6]
    low, high = rows.amin(1).view(4, 6), rows.amax(1).view(4, 6)
    together = affine.fake_quantize(x, affine.qparams(low, high, scheme, axis))
    for mine, group in zip(affine.to_rows(together, axis, 6), rows, strict=True):
        assert torch.equal(mine, affine.fake_quantize(group, minmax(group, alone)))


def test_group_size_that_does_not_divide_is_refused():
    with pytest.raises(InvalidInputError, match="group_size 5 does not divide the 9 values"):
        affine.to_rows(torch.zeros(4, 9), 0, 5)


# Edges --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-30, -1e-30, 1e30, -1e30])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_constant_tensors(scheme, value):
    x = torch.full((3,), value)
    q = minmax(x, scheme)
    assert q.scale > 0
    error = (affine.fake_quantize(x, q) - x).abs().max().item()
    assert error <= max(1e-6 * abs(value), affine.MIN_SCALE / 2)


def test_all_positive_range_is_widened_to_zero():
    q = affine.qparams(torch.tensor(127.5), torch.tensor(255.0), Scheme(8, False, False))
    assert (q.scale.item(), q.zero_point.item()) == (1.0, 0)


def test_range_near_the_largest_float_does_not_overflow():
    x = torch.tensor([3.4e38, -3.4e38])
    q = minmax(x, Scheme(8, True, True))
    assert torch.isfinite(affine.fake_quantize(x, q)).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_range_is_refused(bad):
    with pytest.raises(InvalidInputError, match="NaN or Inf"):
        affine.qparams(torch.tensor([-1.0, bad]), torch.tensor([1.0, 2.0]), Scheme(), 0)


def test_nan_stays_nan_and_its_integer_is_that_of_zero():
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.3])
    q = affine.QParams(torch.tensor(0.1), torch.tensor(5, dtype=torch.int32), 0, 15)
    assert affine.quantize(x, q).tolist() == [5, 15, 0, 8]
    there_and_back = affine.fake_quantize(x, q)
    torch.testing.assert_close(
        there_and_back, torch.tensor([torch.nan, 1.0, -0.5, 0.3]), equal_nan=True
    )
    trained = fake_quantize_ste(x, q.scale, q.zero_point.float(), 0, 15)
    torch.testing.assert_close(there_and_back, trained, equal_nan=True)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_there_and_back_is_dequantize_of_quantize(scheme):
    torch.manual_seed(4)
    x = torch.randn(1000)
    q = minmax(0.8 * x, scheme)
    assert torch.equal(affine.fake_quantize(x, q), affine.dequantize(affine.quantize(x, q), q))


@pytest.mark.parametrize("exponent", [-40, -20, 20, 60])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_unit_of_a_tensor_changes_nothing(scheme, exponent):
    """A power of two rounds nothing: the error scales with the tensor, to the bit."""
    torch.manual_seed(5)
    x, factor = torch.randn(1000), 2.0**exponent
    scaled = affine.fake_quantize(factor * x, minmax(factor * x, scheme))
    assert torch.equal(scaled, factor * affine.fake_quantize(x, minmax(x, scheme)))


def test_the_product_of_two_smallest_scales_is_a_normal_number():
    assert torch.finfo(torch.float32).tiny < affine.MIN_SCALE**2


def test_empty_range_is_refused():
    with pytest.raises(InvalidInputError, match="low lies above high"):
        affine.qparams(torch.tensor(1.0), torch.tensor(-1.0), Scheme())
