"""Operators that compute element by element: sums, products, powers, bounds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from qutils.importers.onnx.call import Call, Converter, Made, as_float, is_number, made
from qutils.importers.onnx.values import Value


def elementwise(function: Callable[..., Any]) -> Converter:
    """Return the converter of a function of all operands, without settings."""
    return lambda call: made(function, *call.given())


def _divide(call: Call) -> Made:
    return made(_trunc_div if _is_integer(call) else torch.div, *call.given())


def _is_integer(call: Call) -> bool:
    return not call.x.dtype.is_floating_point


def _trunc_div(x: Tensor, y: Tensor) -> Tensor:
    return torch.div(x, y, rounding_mode="trunc")


def _power(call: Call) -> Made:
    exponent = call.operand(1)
    if is_number(exponent) and not call.x.is_static and call.x.dtype.is_floating_point:
        return made(torch.pow, call.x, exponent=as_float(exponent.probes[0]))
    return made(_cast_power, call.x, exponent)


def _cast_power(x: Tensor, y: Tensor) -> Tensor:
    return torch.pow(x, y).to(x.dtype)


def _modulo(call: Call) -> Made:
    return made(torch.fmod if call.attribute("fmod", 0) else torch.remainder, *call.given())


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Converter:
    """Return the converter of an operator that joins any number of operands in pairs."""
    return lambda call: made(_joined, *call.given(), function=function)


def _joined(*operands: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return functools.reduce(function, operands)


def _mean(call: Call) -> Made:
    return made(_mean_of, *call.given())


def _mean_of(*operands: Tensor) -> Tensor:
    return functools.reduce(torch.add, operands) / len(operands)


def _bound(side: str) -> Converter:
    """Return the converter of ``Max`` (side min) or ``Min`` (side max).

    A plain number among two operands is a bound of ``clamp``.
    """
    function = torch.maximum if side == "min" else torch.minimum

    def convert(call: Call) -> Made:
        given = call.given()
        numbers = [v for v in given if is_number(v) and v.dtype.is_floating_point]
        others = [v for v in given if v not in numbers]
        if len(given) == 2 and len(numbers) == 1 and numbers[0].ndim <= others[0].ndim:
            return made(torch.clamp, others[0], **{side: as_float(numbers[0].probes[0])})
        return made(_joined, *given, function=function)

    return convert


def _clip(call: Call) -> Made | Value:
    """Bounds were attributes before set 11; bounds that are computed are tensors."""
    low, high = (_clip_bound(call, name, i) for name, i in (("min", 1), ("max", 2)))
    if isinstance(low, float | int | None) and isinstance(high, float | int | None):
        if low is None and high is None:
            return call.x
        return made(torch.clamp, call.x, min=low, max=high)
    return made(_clamp_between, *call.given(), low=call.has(1), high=call.has(2))


def _clip_bound(call: Call, name: str, index: int) -> Any:
    if call.has(index):
        value = call.operand(index)
        return value.probes[0].reshape(()).item() if is_number(value) else value
    return call.attribute(name)


def _clamp_between(x: Tensor, *bounds: Tensor, low: bool, high: bool) -> Tensor:
    rest = list(bounds)
    x = torch.maximum(x, rest.pop(0)) if low else x
    return torch.minimum(x, rest.pop(0)) if high else x


def _cumulative_sum(call: Call) -> Made:
    if call.attribute("exclusive", 0) or call.attribute("reverse", 0):
        raise call.refuse("exclusive and reverse sums have no counterpart")
    return made(torch.cumsum, call.x, dim=int(call.constant(1)))


_PLAIN: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Add": torch.add,
    "And": torch.logical_and,
    "Asin": torch.asin,
    "Atan": torch.atan,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "IsNaN": torch.isnan,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
    "Where": torch.where,
    "Xor": torch.logical_xor,
}

ARITHMETIC: dict[str, Converter] = {
    **{op: elementwise(function) for op, function in _PLAIN.items()},
    "Clip": _clip,
    "CumSum": _cumulative_sum,
    "Div": _divide,
    "Max": _bound("min"),
    "Mean": _mean,
    "Min": _bound("max"),
    "Mod": _modulo,
    "Pow": _power,
    "Sum": _variadic(torch.add),
}
