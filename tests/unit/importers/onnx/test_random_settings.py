"""Windows, slices and resizes of random settings, whatever ONNX Runtime accepts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from qutils.importers.onnx import import_onnx
from tests.unit.importers.onnx.files import normal, save
from tests.unit.importers.onnx.test_operators import run

SIDES = st.integers(5, 9)
FEW = settings(max_examples=25, deadline=None)


def agree(node, tensors, shape, opset=17):
    """Whether the import computes what ONNX Runtime does; what that refuses is left out."""
    with tempfile.TemporaryDirectory() as folder:
        file = save(Path(folder) / "m.onnx", [node], tensors, ("n", *shape), opset)
        x = 3 * normal(3, *shape, seed=5)
        try:
            (expected,) = run(file, x)
        except Exception:
            assume(False)
        assume(expected.size and np.isfinite(expected).all())
        outputs = import_onnx(file, torch.from_numpy(x)).module(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(outputs, expected, atol=3e-6 * np.abs(expected).max())


@FEW
@given(
    op=st.sampled_from(["Conv", "ConvTranspose", "MaxPool", "AveragePool"]),
    sides=st.tuples(SIDES, SIDES),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    ceil=st.booleans(),
    counts=st.booleans(),
    auto=st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
)
def test_windows(op, sides, kernel, strides, pads, ceil, counts, auto):
    attributes = {"kernel_shape": kernel, "strides": strides, "auto_pad": auto}
    if auto == "NOTSET":
        attributes["pads"] = pads
        assume(all(pad < k for pad, k in zip(pads, kernel * 2, strict=True)))
    if "Pool" in op:
        attributes["ceil_mode"] = int(ceil and not any(pads) and auto == "NOTSET")
    if op == "AveragePool":
        attributes["count_include_pad"] = int(counts and not attributes["ceil_mode"])
    tensors = {} if "Pool" in op else {"w": normal(3, 3, *kernel)}
    agree(helper.make_node(op, ["x", *tensors], ["y"], **attributes), tensors, (3, *sides))


@FEW
@given(
    side=SIDES,
    start=st.integers(-12, 12),
    end=st.integers(-12, 12),
    step=st.sampled_from([-3, -2, -1, 1, 2, 3]),
    axis=st.sampled_from([1, 2, -1]),
)
def test_slices(side, start, end, step, axis):
    values = {"s": start, "e": end, "a": axis, "t": step}
    tensors = {name: np.array([value]) for name, value in values.items()}
    agree(helper.make_node("Slice", ["x", *tensors], ["y"]), tensors, (4, side))


@FEW
@given(
    sides=st.tuples(SIDES, SIDES),
    sizes=st.tuples(st.integers(2, 14), st.integers(2, 14)),
    mode=st.sampled_from(["nearest", "linear", "cubic"]),
    coordinates=st.sampled_from(["half_pixel", "align_corners", "asymmetric"]),
    rounding=st.sampled_from(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]),
)
def test_resizes(sides, sizes, mode, coordinates, rounding):
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "axes": [2, 3]}
    attributes |= {"nearest_mode": rounding} if mode == "nearest" else {}
    node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], **attributes)
    agree(node, {"size": np.array(sizes)}, (2, *sides), opset=18)


@FEW
@given(
    shape=st.permutations([2, 3, 4, 5]),
    split=st.sampled_from([(-1,), (2, -1), (-1, 6), (4, 5, -1), (0, -1), (0, 0, -1), (-1, 1, 1)]),
)
def test_reshapes(shape, split):
    tensors = {"size": np.array([0, *split[1:]] if split[0] == 0 else [0, *split])}
    agree(helper.make_node("Reshape", ["x", "size"], ["y"]), tensors, shape)
