"""Inputs that are given a number once and for all: a sampling rate, a switch, a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from qutils.errors import InvalidInputError, unknown_name
from qutils.importers.onnx.cut import reads
from qutils.importers.onnx.read import inputs_of, shape_of


def fix_inputs(model: ModelProto, fixed: Mapping[str, float]) -> None:
    """Store a number in place of each named input, in every element, in place.

    Raises:
        InvalidInputError: no such input; its shape is open or its type cannot hold the number; no
            other input would be left.
    """
    inputs = {value.name: value for value in inputs_of(model)}
    for name, number in fixed.items():
        if name not in inputs:
            raise unknown_name("input", name, list(inputs))
        if len(fixed) == len(inputs):
            raise InvalidInputError(
                f"All inputs are fixed ({', '.join(inputs)}): leave one that the network reads."
            )
        value = inputs[name]
        shape, dtype = shape_of(value), _numpy_type(value.type.tensor_type.elem_type)
        words = f"{name} is {dtype} [{', '.join(map(str, shape))}]"
        sizes = [size for size in shape if isinstance(size, int)]
        if len(sizes) < len(shape):
            raise InvalidInputError(
                f"{words}: an input of open size cannot be fixed. Give it in the data."
            )
        array = _filled(sizes, number, dtype)
        if array is None:
            raise InvalidInputError(f"{words}, which cannot hold {number!r}. Give such a number.")
        model.graph.input.remove(value)
        model.graph.initializer.append(numpy_helper.from_array(array, name))


def _filled(sizes: list[int], number: float, dtype: Any) -> NDArray[Any] | None:
    """An array of one number; None if the type does not hold it."""
    try:
        array = np.full(sizes, float(number)).astype(dtype)
        near = np.isclose(array.astype(np.float64), float(number), rtol=1e-6, atol=0)
    except (TypeError, ValueError, OverflowError):
        return None
    exact = array.astype(np.float64) == float(number)
    return array if (near if dtype.kind == "f" else exact).all() else None


def deciding_inputs(model: ModelProto, name: str) -> list[str]:
    """Return the inputs of at most one element that alone decide a value; none if others do."""
    makers = {output: node for node in model.graph.node for output in node.output if output}
    inputs = {value.name: value for value in inputs_of(model)}
    found, waiting, seen = [], [name], set()
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        if value in inputs:
            if any(size != 1 for size in shape_of(inputs[value])):
                return []
            found.append(value)
        elif value in makers:
            waiting.extend(sorted(reads(makers[value])))
    return sorted(found)


def _numpy_type(elem_type: int) -> np.dtype:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
