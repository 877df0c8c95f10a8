"""Reading an ONNX file that may be anything: one error for what is missing, cut or no graph."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto

from qutils.backends.shared.limits import KEY, Limits
from qutils.errors import DataError
from qutils.reading import reading


def read_onnx(path: str | Path, *, external: bool = True) -> ModelProto:
    """The model of a file.

    Args:
        external: also read tensors that lie in files beside it.

    Raises:
        DataError: the file is missing, truncated or corrupt, or holds no graph.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is missing. Export the model first, or correct the path.")
    with reading(path, "Export it again", "corrupt or truncated, or no ONNX file"):
        model = onnx.load(str(path), load_external_data=external)
        if not model.graph.node:
            raise ValueError("it holds no graph")
        return model


def limits_of(model: ModelProto) -> Limits:
    """Return the largest inputs that a file's metadata names."""
    return Limits.loads(next((one.value for one in model.metadata_props if one.key == KEY), None))
