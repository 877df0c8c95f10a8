"""Operators that make values from sizes and numbers, and that change the type of values."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from qutils.importers.onnx.call import Call, Converter, Made, made, torch_dtype
from qutils.importers.onnx.values import Value


def stored(tensor: onnx.TensorProto) -> Tensor:
    """Return a tensor of the file; floats of every width become float32."""
    array = np.array(onnx.numpy_helper.to_array(tensor))
    dtype = torch_dtype(tensor.data_type)
    if dtype == torch.float32:
        array = array.astype(np.float32)
    return torch.from_numpy(array)


def constant(call: Call) -> Tensor:
    """Return what a ``Constant`` node holds."""
    for attribute in call.node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if attribute.name == "value":
            return stored(value)
        if attribute.name in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=torch.float32)
        if attribute.name in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64)
    raise call.refuse("it holds no tensor of numbers")


def _cast(call: Call) -> Made | Value:
    return _to(call, torch_dtype(call.attribute("to")))


def _cast_like(call: Call) -> Made | Value:
    return _to(call, call.operand(1).dtype)


def _to(call: Call, dtype: torch.dtype) -> Made | Value:
    return call.x if dtype == call.x.dtype else made(_converted, call.x, dtype=dtype)


def _converted(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype)


def _shape(call: Call) -> Made:
    return made(_shape_of, call.x, start=call.attribute("start", 0), end=call.attribute("end"))


def _shape_of(x: Tensor, start: int, end: int | None) -> Tensor:
    return torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


def _size(call: Call) -> Made:
    return made(_number, call.x)


def _number(x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


def _constant_of_shape(call: Call) -> Made:
    value: Any = call.attribute("value")
    filled = torch.zeros(1) if value is None else stored(value)
    return made(_filled, sizes=call.sizes(0), value=filled)


def _filled(sizes: list[int], value: Tensor) -> Tensor:
    return value.reshape(()).expand(sizes).clone()


def _range(call: Call) -> Made:
    return made(_counted, *call.given())


def _counted(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    bounds = (start.item(), limit.item(), delta.item())
    return torch.arange(*bounds, dtype=start.dtype)


def _eye_like(call: Call) -> Made:
    kind = call.attribute("dtype")
    dtype = call.x.dtype if kind is None else torch_dtype(kind)
    rows, columns = call.settled(call.x.shape)
    eye = torch.diag_embed(torch.ones(max(rows, columns)), call.attribute("k", 0))
    return made(_filled_with, value=eye[:rows, :columns].to(dtype))


def _filled_with(value: Tensor) -> Tensor:
    return value.clone()


def _non_zero(call: Call) -> Made:
    return made(_places, call.x)


def _places(x: Tensor) -> Tensor:
    return x.nonzero().T.contiguous()


def _dequantize(call: Call) -> Made:
    """Weights that a float network stores as integers: ``(q - zero_point) * scale``."""
    if not call.x.is_static:
        raise call.refuse("its integers are computed: the network is quantized already")
    if call.attribute("block_size", 0):
        raise call.refuse("blocks of weights with scales of their own are not imported")
    return made(_dequantized, *call.given(), axis=call.attribute("axis", 1))


def _dequantized(q: Tensor, scale: Tensor, zero: Tensor | None = None, *, axis: int) -> Tensor:
    shape = [-1 if i == axis % max(q.ndim, 1) else 1 for i in range(q.ndim)]
    own = scale if scale.ndim == 0 or scale.numel() == 1 else scale.reshape(shape)
    shifted = q.to(torch.float32)
    if zero is not None:
        zero = zero.to(torch.float32)
        shifted = shifted - (zero.reshape(own.shape) if zero.numel() > 1 else zero.reshape(()))
    return shifted * (own if own.numel() > 1 else own.reshape(()))


SOURCES: dict[str, Converter] = {
    "Cast": _cast,
    "CastLike": _cast_like,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": _dequantize,
    "EyeLike": _eye_like,
    "NonZero": _non_zero,
    "Range": _range,
    "Shape": _shape,
    "Size": _size,
}
#: Their results are known from the shape of what they read.
OF_SHAPES = frozenset({"Shape", "Size", "EyeLike"})
