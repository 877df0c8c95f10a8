"""The package ``onnx2torch``, imported without torchvision.

Two of its converters (RoiAlign, NonMaxSuppression) import torchvision, whose build on package
indexes does not import beside a CPU build of PyTorch. Detection heads are not imported here: an
empty torchvision stands in while ``onnx2torch`` is imported, and is gone afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from qutils.runtimes.base import require

INSTALL = "pip install -e '.[import]'"
_NAMES = ("torchvision", "torchvision.ops")


def onnx2torch() -> ModuleType:
    """The package.

    Raises:
        MissingPackageError: it is not installed; names the command that installs it.
    """
    if (imported := sys.modules.get("onnx2torch")) is not None:
        return imported
    with _empty_torchvision():
        return require("onnx2torch", INSTALL)


@contextmanager
def _empty_torchvision() -> Iterator[None]:
    if "torchvision" in sys.modules:  # somebody has one that imports
        yield
        return
    package, ops = (ModuleType(name) for name in _NAMES)
    package.ops = ops  # type: ignore[attr-defined]
    ops.roi_align = None  # type: ignore[attr-defined]
    sys.modules.update(zip(_NAMES, (package, ops), strict=True))
    try:
        yield
    finally:
        for name in _NAMES:
            sys.modules.pop(name, None)
