"""Cases of operators that arrange or resize values."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from tests.unit.importers.onnx.case import IMAGE, SEQUENCE, VOLUME, Case, ints, number

LAYOUTS = {
    "transpose": Case("Transpose", {"perm": [0, 3, 1, 2]}, opsets=(7, 21)),
    "flatten two": Case("Flatten", {"axis": 2}, opsets=(9, 13)),
    "flatten last": Case("Flatten", {"axis": -1}),
    "reshape": Case("Reshape", stored=(ints(0, 3, -1),), opsets=(7, 14, 21)),
    "reshape merged": Case("Reshape", stored=(ints(-1, 8, 8),)),
    "reshape flat": Case("Reshape", stored=(ints(0, -1),)),
    "squeeze old": Case("Squeeze", {"axes": [2]}, shape=("n", 3, 1, 5), opsets=(7, 11)),
    "squeeze": Case("Squeeze", stored=(ints(-2),), shape=("n", 3, 1, 5), opsets=(13, 21)),
    "squeeze all": Case("Squeeze", shape=("n", 3, 1, 1)),
    "unsqueeze old": Case("Unsqueeze", {"axes": [1, 4]}, opsets=(7, 11)),
    "unsqueeze": Case("Unsqueeze", stored=(ints(1, -1),), opsets=(13, 21)),
    "concat": Case("Concat", {"axis": 1}, shape=IMAGE),
    "expand": Case("Expand", stored=(ints(1, 3, 4, 5),), shape=("n", 3, 1, 1), opsets=(8, 13)),
    "expand more": Case("Expand", stored=(ints(4, 1),), shape=("n", 3, 1, 2)),
    "tile": Case("Tile", stored=(ints(1, 2, 1, 3),), opsets=(7, 13)),
    "slice old": Case(
        "Slice", {"axes": [2, 3], "starts": [1, -5], "ends": [2**31 - 1, -1]}, opsets=(7, 9)
    ),
    "slice": Case(
        "Slice", stored=(ints(1, 0), ints(100, -1), ints(2, 3), ints(2, 3)), opsets=(10, 13)
    ),
    "slice back": Case("Slice", stored=(ints(-1), ints(-(2**31)), ints(3), ints(-1))),
    "slice back by two": Case("Slice", stored=(ints(6), ints(0), ints(2), ints(-2))),
    "slice nothing": Case("Slice", stored=(ints(0), ints(2**31), ints(1))),
    "gather one": Case("Gather", {"axis": 1}, (np.int64(-1),), opsets=(7, 13)),
    "gather some": Case("Gather", {"axis": 2}, (ints(5, 0, 5),)),
    "gather run": Case("Gather", {"axis": 2}, (ints(2, 3, 4),)),
    "gather table": Case("Gather", {"axis": 3}, (np.array([[0, 1], [2, 7]]),)),
    "depth to space": Case(
        "DepthToSpace", {"blocksize": 2}, shape=("n", 8, 3, 4), opsets=(7, 11, 13)
    ),
    "depth to space crd": Case(
        "DepthToSpace", {"blocksize": 2, "mode": "CRD"}, shape=("n", 8, 3, 4), opsets=(11,)
    ),
    "space to depth": Case("SpaceToDepth", {"blocksize": 2}, opsets=(7, 13)),
    "trilu": Case("Trilu", {"upper": 0}, opsets=(14,)),
    "pad old": Case("Pad", {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "value": 1.5}, opsets=(7, 10)),
    "pad": Case("Pad", stored=(ints(0, 0, 1, 2, 0, 0, 3, 0), number(1.5)), opsets=(11, 13)),
    "pad channels": Case("Pad", stored=(ints(0, 1, 0, 0, 0, 2, 0, 0),)),
    "pad axes": Case("Pad", stored=(ints(1, 2), None, ints(3)), opsets=(18,)),
    "pad cut": Case("Pad", stored=(ints(0, 0, -1, 0, 0, 0, 2, -3),)),
    "pad reflect": Case(
        "Pad", {"mode": "reflect"}, (ints(0, 0, 2, 1, 0, 0, 3, 4),), opsets=(11, 18)
    ),
    "pad edge": Case("Pad", {"mode": "edge"}, (ints(0, 0, 2, 1, 0, 0, 3, 4),)),
    "pad edge last": Case("Pad", {"mode": "edge"}, (ints(0, 0, 0, 1, 0, 0, 0, 4),)),
    "pad reflect channels": Case("Pad", {"mode": "reflect"}, (ints(0, 1, 2, 0, 0, 1, 0, 0),)),
    "pad wrap": Case("Pad", {"mode": "wrap"}, (ints(0, 0, 2, 1, 0, 0, 3, 4),), opsets=(19,)),
    "pad 1d": Case("Pad", {"mode": "reflect"}, (ints(0, 0, 2, 0, 0, 3),), SEQUENCE),
    "argmax": Case("ArgMax", {"axis": 1}, opsets=(7, 13), kind=TensorProto.INT64),
    "argmin": Case("ArgMin", {"axis": -1, "keepdims": 0}, kind=TensorProto.INT64),
    "cast": Case("Cast", {"to": TensorProto.FLOAT}),
    "greater": Case("Greater", stored=(number(0),), opsets=(7, 13), kind=TensorProto.BOOL),
    "less or equal": Case("LessOrEqual", stored=(number(0),), kind=TensorProto.BOOL),
}

_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


def _resize(mode: str, coordinates: str, scales: tuple[float, ...], **more: Any) -> Case:
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, **more}
    return Case("Resize", attributes, (None, np.float32([1, 1, *scales])))


RESIZES = {
    **{
        f"{mode} {coordinates} {scales}": _resize(mode, coordinates, scales)
        for mode in ("nearest", "linear", "cubic")
        for coordinates in (*_COORDINATES, "half_pixel_symmetric")
        for scales in ((2.0, 2.0), (0.5, 1.5), (1.7, 0.6))
    },
    **{
        f"nearest {rounding}": _resize("nearest", "half_pixel", (0.5, 3.0), nearest_mode=rounding)
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    },
    "torch nearest": _resize("nearest", "asymmetric", (2.0, 2.0), nearest_mode="floor"),
    "cubic other": _resize("cubic", "half_pixel", (2.0, 2.0), cubic_coeff_a=-0.5),
    "cubic inside": _resize("cubic", "half_pixel", (2.0, 2.0), exclude_outside=1),
    "sizes": Case(
        "Resize",
        {"mode": "linear"},
        (np.float32([]), np.float32([]), ints(1, 3, 5, 13)),
        (1, 3, 8, 8),
        (11, 19),
    ),
    "sizes align": Case(
        "Resize",
        {"mode": "linear", "axes": [2, 3], "coordinate_transformation_mode": "align_corners"},
        (None, None, ints(5, 13)),
        opsets=(18,),
    ),
    "old": Case("Resize", {"mode": "nearest"}, (np.float32([1, 1, 2, 2]),), opsets=(10,)),
    "old linear": Case("Resize", {"mode": "linear"}, (np.float32([1, 1, 2, 2]),), opsets=(10,)),
    "axes": Case(
        "Resize", {"mode": "nearest", "axes": [2, 3]}, (None, np.float32([2, 2])), opsets=(18,)
    ),
    "1d": Case("Resize", {"mode": "linear"}, (None, np.float32([1, 1, 2])), SEQUENCE),
    "3d": Case("Resize", {"mode": "linear"}, (None, np.float32([1, 1, 2, 2, 2])), VOLUME),
    "channels last": Case("Resize", {"mode": "linear"}, (None, np.float32([1, 2, 2, 1]))),
    "upsample": Case("Upsample", {"mode": "nearest"}, (np.float32([1, 1, 2, 2]),), opsets=(9,)),
    "upsample 7": Case(
        "Upsample", {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 3.0]}, opsets=(7,)
    ),
    "upsample linear": Case(
        "Upsample", {"mode": "linear"}, (np.float32([1, 1, 2, 2]),), opsets=(9,)
    ),
}
