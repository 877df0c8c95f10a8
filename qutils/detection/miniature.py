"""Miniatures of YOLO11 and YOLO26: their kinds of layers, once each, for runs that try the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

#: Appended to the name of a network, ``yolo11n-mini``: its miniature.
MINIATURE = "-mini"

_BACKBONE = (
    (-1, 1, "Conv", [16, 3, 2]),
    (-1, 1, "Conv", [16, 3, 2]),
    (-1, 1, "Conv", [32, 3, 2]),  # stride 8
    "first",
    (-1, 1, "Conv", [64, 3, 2]),  # 4, stride 16
    (-1, 1, "Conv", [64, 3, 2]),  # stride 32
    "pooling",
    (-1, 1, "C2PSA", [64]),  # 7, stride 32
    (-1, 1, "nn.Upsample", [None, 2, "nearest"]),
    ([-1, 4], 1, "Concat", [1]),
    "second",  # 10, stride 16
)
_HEAD = ([10, 7], 1, "Detect", ["nc"])
#: What tells the two apart: three layers, and options of the whole.
_FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "yolo11n": (
        {
            "first": (-1, 1, "C3k2", [32, False]),
            "pooling": (-1, 1, "SPPF", [64, 5]),
            "second": (-1, 1, "C3k2", [64, True]),
        },
        {},
    ),
    "yolo26n": (
        {
            "first": (-1, 1, "C3k2", [32, True]),
            "pooling": (-1, 1, "SPPF", [64, 5, 3, True]),
            "second": (-1, 1, "C3k2", [64, True, 0.5, True]),  # with attention
        },
        {"end2end": True, "reg_max": 1},
    ),
}
#: Names that ``architecture`` writes a file for.
MINIATURES = tuple(f"{family}{MINIATURE}" for family in _FAMILIES)


def architecture(network: str, folder: Path) -> str:
    """Return what ``YOLO(...)`` builds a network from: one of its names, or a file in ``folder``.

    A miniature has half as many convolutions, and places at strides 16 and 32. It holds every
    kind of layer of its family, attention and head included.
    """
    if network not in MINIATURES:
        return f"{network}.yaml"
    own, options = _FAMILIES[network.removesuffix(MINIATURE)]
    layers = [list(own[layer] if isinstance(layer, str) else layer) for layer in _BACKBONE]
    path = folder / f"{network}.yaml"
    content = {"nc": 80, **options, "backbone": layers, "head": [list(_HEAD)]}
    path.write_text(yaml.safe_dump(content))
    return str(path)
