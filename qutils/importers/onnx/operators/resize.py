"""``Resize`` and ``Upsample``: PyTorch's interpolation where it computes the same, else by index.

An axis of another rule is resized by a matrix ``[out, in]``, or by picking values: whatever the
coordinate mode, every output is a fixed mix of inputs along the axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from qutils.graph.inputs import BATCH
from qutils.importers.onnx.call import Call, Converter, Made, made
from qutils.importers.onnx.values import Batch, Value, probes

_MODES = {"nearest": ("nearest",) * 3, "linear": ("linear", "bilinear", "trilinear")}


@dataclass(frozen=True)
class Axis:
    """One resized axis: sizes before and after, and the factor between them."""

    place: int
    before: int
    after: int
    scale: float
    open: bool = False  # of any size: the others are those of the first probe


def _resize(call: Call) -> Made | Value:
    mode = call.attribute("mode", "nearest")
    if call.attribute("antialias", 0):
        raise call.refuse("antialias=1 has no counterpart")
    policy = call.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        raise call.refuse(f"keep_aspect_ratio_policy={policy} has no counterpart")
    default = "half_pixel" if call.opset >= 11 else "asymmetric"
    coordinates = call.attribute("coordinate_transformation_mode", default)
    if coordinates == "tf_crop_and_resize":
        raise call.refuse(f"coordinate_transformation_mode={coordinates} has no counterpart")
    rounding = call.attribute("nearest_mode", "round_prefer_floor" if call.opset >= 11 else "floor")
    axes = [axis for axis in _axes(call) if axis.scale != 1 or axis.before != axis.after]
    if not axes:
        return call.x
    if mode == "nearest":
        return _nearest(call, axes, coordinates, rounding)
    if mode not in ("linear", "cubic"):
        raise call.refuse(f"mode={mode} has no counterpart")
    return _mixed(call, axes, mode, coordinates)


def _upsample(call: Call) -> Made:
    """``Upsample`` of sets 7 to 9: asymmetric coordinates, rounded down."""
    mode = {"bilinear": "linear"}.get(mode := call.attribute("mode", "nearest"), mode)
    axes = [axis for axis in _axes(call) if axis.scale != 1]
    if mode == "nearest":
        return _nearest(call, axes, "asymmetric", "floor")
    return _mixed(call, axes, mode, "asymmetric")


def _axes(call: Call) -> list[Axis]:
    """Every axis that is named, with its sizes."""
    places = [a % call.x.ndim for a in call.attribute("axes", list(range(call.x.ndim)))]
    scales, sizes = _scales(call), None
    if scales is None:
        sizes = call.sizes(3)
    found = []
    for i, place in enumerate(places):
        before = call.x.shape[place]
        if isinstance(before, Batch) and BATCH not in before.names:
            found.append(_open_axis(call, place, before, (scales or sizes or [before])[i], scales))
            continue
        if isinstance(before, Batch):
            if (sizes and sizes[i] not in (before, call.fixed_batch)) or (
                scales and scales[i] != 1
            ):
                raise call.refuse("it resizes the axis of the batch")
            continue
        if scales is not None:
            found.append(Axis(place, before, math.floor(before * scales[i] + 1e-9), scales[i]))
        else:
            (after,) = call.settled([sizes[i]]) if sizes else (before,)
            found.append(Axis(place, before, after, after / before))
    return found


def _open_axis(
    call: Call, place: int, before: Batch, given: Any, scales: list[float] | None
) -> Axis:
    """An axis of any size, which is resized by one factor."""
    sides = [int(before.at(at)) for at in probes()]
    if scales is None:
        ends = [int(given.at(at)) if isinstance(given, Batch) else given for at in probes()]
        scale = ends[0] / sides[0]
    else:
        scale = given
        ends = [math.floor(side * scale + 1e-9) for side in sides]
    if any(end != math.floor(side * scale) for side, end in zip(sides, ends, strict=True)):
        raise call.refuse("it resizes an open axis to a size that is no multiple of it")
    return Axis(place, sides[0], ends[0], scale, open=True)


def _require_fixed(call: Call, axes: Sequence[Axis]) -> None:
    if any(axis.open for axis in axes):
        raise call.refuse("it resizes an open axis in a way that PyTorch has for fixed sizes only")


def _scales(call: Call) -> list[float] | None:
    index = 1 if call.op == "Upsample" or call.opset < 11 else 2
    tensor = call.optional(index)
    if tensor is not None:
        return [float(scale) for scale in tensor]
    return call.attribute("scales")  # type: ignore[no-any-return]


def _in_space(call: Call, axes: Sequence[Axis]) -> list[Axis] | None:
    """All axes in space, if only such are resized and there are one to three."""
    if not 3 <= call.x.ndim <= 5 or any(axis.place < 2 for axis in axes):
        return None
    known = {axis.place: axis for axis in axes}
    found = []
    for place, size in enumerate(call.x.shape[2:], 2):
        side = int(size.at(probes()[0])) if isinstance(size, Batch) else size
        unchanged = Axis(place, side, side, 1.0, open=isinstance(size, Batch))
        found.append(known.get(place, unchanged))
    return found


def _interpolation(call: Call, space: Sequence[Axis], mode: str, align: bool | None) -> Made:
    """``F.interpolate``, by factors where ONNX gives them and PyTorch would find the same sizes."""
    settings: dict[str, Any] = {"mode": mode}
    if align is not None:
        settings["align_corners"] = align
    factors = [axis.scale for axis in space]
    alike = all(axis.after == math.floor(axis.before * axis.scale) for axis in space)
    by_factor = _scales(call) is not None or any(axis.open for axis in space)
    if by_factor and alike:
        return made(F.interpolate, call.x, **settings, scale_factor=factors)
    return made(F.interpolate, call.x, **settings, size=[axis.after for axis in space])


def _nearest(call: Call, axes: list[Axis], coordinates: str, rounding: str) -> Made:
    picks = {axis.place: _places(axis, coordinates, rounding) for axis in axes}
    space = _in_space(call, axes)
    if space is not None:
        for mode, rule in (
            ("nearest", ("asymmetric", "floor")),
            ("nearest-exact", ("half_pixel", "round_prefer_ceil")),
        ):
            if all(picks[axis.place] == _places(axis, *rule) for axis in axes):
                return _interpolation(call, space, mode, None)
    _require_fixed(call, axes)
    kept = [call.keep(f"places{axis}", torch.tensor(index)) for axis, index in picks.items()]
    return made(_picked, call.x, *kept, axes=list(picks))


def _picked(x: Tensor, *picks: Tensor, axes: Sequence[int]) -> Tensor:
    for axis, index in zip(axes, picks, strict=True):
        x = x.index_select(axis, index)
    return x


def _places(axis: Axis, coordinates: str, rounding: str) -> list[int]:
    """Where each output of an axis is read."""
    return [
        min(max(_rounded(_origin(i, axis, coordinates), rounding), 0), axis.before - 1)
        for i in range(axis.after)
    ]


def _rounded(place: float, rounding: str) -> int:
    place = round(place, 9)  # 2.9999999999 is 3
    if rounding == "floor":
        return math.floor(place)
    if rounding == "ceil":
        return math.ceil(place)
    return math.ceil(place - 0.5) if rounding == "round_prefer_floor" else math.floor(place + 0.5)


def _origin(place: int, axis: Axis, coordinates: str) -> float:
    """The coordinate of an output before resizing, as the specification of ``Resize`` has it."""
    if coordinates == "asymmetric":
        return place / axis.scale
    if coordinates == "align_corners":
        return place * (axis.before - 1) / (axis.after - 1) if axis.after > 1 else 0.0
    if coordinates == "pytorch_half_pixel" and axis.after <= 1:
        return 0.0
    if coordinates == "half_pixel_symmetric":
        adjusted = axis.after / (axis.scale * axis.before)
        centre = axis.before / 2
        return centre * (1 - adjusted) + (place + 0.5) / axis.scale - 0.5
    if coordinates == "tf_half_pixel_for_nn":
        return (place + 0.5) / axis.scale
    return (place + 0.5) / axis.scale - 0.5


def _mixed(call: Call, axes: list[Axis], mode: str, coordinates: str) -> Made:
    slope = call.attribute("cubic_coeff_a", -0.75)
    outside = bool(call.attribute("exclude_outside", 0))
    align = coordinates == "align_corners"
    known = coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners")
    space = _in_space(call, axes) if known and not outside else None
    if space is not None and not (coordinates.startswith("pytorch") and _shrinks_to_one(axes)):
        if mode == "linear":
            return _interpolation(call, space, _MODES["linear"][len(space) - 1], align)
        if len(space) == 2 and math.isclose(slope, -0.75):
            return _interpolation(call, space, "bicubic", align)
    _require_fixed(call, axes)
    matrices = [
        call.keep(f"shares{a.place}", _matrix(a, mode, coordinates, slope, outside)) for a in axes
    ]
    return made(_mixed_along, call.x, *matrices, axes=[a.place for a in axes])


def _shrinks_to_one(axes: Sequence[Axis]) -> bool:
    return any(axis.after == 1 for axis in axes)


def _mixed_along(x: Tensor, *matrices: Tensor, axes: Sequence[int]) -> Tensor:
    for axis, matrix in zip(axes, matrices, strict=True):
        x = F.linear(x.transpose(axis, -1), matrix).transpose(axis, -1)
    return x


def _matrix(axis: Axis, mode: str, coordinates: str, slope: float, outside: bool) -> Tensor:
    """Shares of the inputs in each output, ``[out, in]``; beyond the border the border counts."""
    matrix = torch.zeros(axis.after, axis.before, dtype=torch.float64)
    for i in range(axis.after):
        origin = _origin(i, axis, coordinates)
        if mode == "linear":
            origin = min(max(origin, 0.0), axis.before - 1.0)
        low = math.floor(origin)
        part = origin - low
        shares = [1 - part, part] if mode == "linear" else _cubic(part, slope)
        first = low if mode == "linear" else low - 1
        if outside:
            shares = [s if 0 <= first + j < axis.before else 0.0 for j, s in enumerate(shares)]
            shares = [s / sum(shares) for s in shares]
        for j, share in enumerate(shares):
            matrix[i, min(max(first + j, 0), axis.before - 1)] += share
    return matrix.float()


def _cubic(part: float, a: float) -> list[float]:
    """Shares of four neighbours (Keys 1981), ``part`` after the second."""

    def near(d: float) -> float:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: float) -> float:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(part + 1), near(part), near(1 - part), far(2 - part)]


def _grid_sample(call: Call) -> Made:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(
        mode := call.attribute("mode", "linear"), mode
    )
    return made(
        F.grid_sample,
        *call.given(),
        mode=mode,
        padding_mode=call.attribute("padding_mode", "zeros"),
        align_corners=bool(call.attribute("align_corners", 0)),
    )


RESIZE: dict[str, Converter] = {
    "GridSample": _grid_sample,
    "Resize": _resize,
    "Upsample": _upsample,
}
