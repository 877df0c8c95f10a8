"""Import torchvision beside a torch whose build differs from the one torchvision was compiled for.

The wheels of torchvision are compiled for one build of torch each. Beside torch for the CPU,
``import torchvision`` fails: ``operator torchvision::nms does not exist``, because its compiled
operators were not loaded and it declares the shape of one of them.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Any

import torch

from qutils.detection.nms import nms
from qutils.errors import not_installed

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_KEPT: list[Any] = []  # operators live as long as their library


@cache
def torchvision() -> ModuleType:
    """Import torchvision; where its compiled part is missing, compute ``nms`` in plain torch.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module("torchvision")
    except ImportError as error:
        raise not_installed("torchvision", "pip install -e '.[coverage]'", error) from error
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    own: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        own.define(f"{name}{_SIGNATURE}")
    own.impl("nms", nms, "CPU")
    _KEPT.append(own)
    module = importlib.import_module("torchvision")
    importlib.import_module("torchvision.extension")._has_ops = lambda: True  # type: ignore[attr-defined]
    return module
