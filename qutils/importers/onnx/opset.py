"""Operator sets: those of old files are lifted to the oldest that is imported."""

from __future__ import annotations

import onnx
from onnx import ModelProto

from qutils.errors import UnsupportedError

#: Sets below are lifted to this one; ONNX Runtime promises to run none below it.
OLDEST = 7
#: What an operator set below ``OLDEST`` is lifted to.
LIFTED = 13
#: Domains of the standard operators.
DOMAINS = ("", "ai.onnx")


def opset_of(model: ModelProto) -> int:
    """Return the version of the standard operator set that a model uses."""
    return max((o.version for o in model.opset_import if o.domain in DOMAINS), default=1)


def lifted(model: ModelProto) -> ModelProto:
    """Return a model of at least set ``OLDEST``.

    Raises:
        UnsupportedError: the set is too old to be lifted; the reason is given.
    """
    version = opset_of(model)
    if version >= OLDEST:
        return model
    try:
        return onnx.version_converter.convert_version(model, LIFTED)
    except Exception as error:
        reason = str(error).strip().splitlines()[-1]
        raise UnsupportedError(
            f"operator set {version} is too old, and onnx cannot lift it to {LIFTED} ({reason}): "
            f"export the model with operator set {LIFTED} or newer"
        ) from error
