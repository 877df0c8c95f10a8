"""Import torchvision beside a torch whose build differs from the one torchvision was compiled for.

The wheels of torchvision are compiled for one build of torch each. Beside torch for the CPU,
``import torchvision`` ends in ``operator torchvision::nms does not exist``: its compiled operators
were not loaded, and it declares the shape of one of them. Declared operators without a kernel are
enough for the import. No network of this study calls one; a call raises torch's own error.
"""

from __future__ import annotations

from types import ModuleType

import torch

from qutils.errors import not_installed

#: Signatures of the operators whose shapes torchvision declares when it is imported.
_DECLARED = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[torch.library.Library] = []  # a library's operators are gone when it is collected


def torchvision() -> ModuleType:
    """Return the torchvision package.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        try:
            import torchvision
        except RuntimeError as error:
            if "torchvision::nms does not exist" not in str(error):
                raise
            _declare()
            import torchvision
    except ImportError as error:
        raise not_installed("torchvision", "pip install -e '.[coverage]'", error) from error
    module: ModuleType = torchvision
    return module


def _declare() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for signature in _DECLARED:
        library.define(signature)  # type: ignore[no-untyped-call]
    _libraries.append(library)
