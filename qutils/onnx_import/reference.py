"""ONNX Runtime's outputs of a float model, for batches of any size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from torch import Tensor

from qutils.errors import DataError, UnsupportedError

Outputs = NDArray[Any]
_QUIET = 4  # fatal errors only: what is refused is said by ours
_CORRUPT = (ort_errors.InvalidProtobuf, ort_errors.InvalidArgument, ort_errors.NoModel)


class Reference:
    """A session of ONNX Runtime that runs a model of fixed batch in pieces."""

    def __init__(self, path: Path, model: ModelProto, level: Any) -> None:
        """Load the model of ``path``.

        Raises:
            DataError: ONNX Runtime finds it corrupt.
            UnsupportedError: ONNX Runtime cannot run it.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET
        options.graph_optimization_level = level
        self.path, self.level = path, level
        try:
            self._session = ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except _CORRUPT as error:
            raise DataError(
                f"{path} is corrupt or truncated ({path.stat().st_size:,} bytes): "
                f"{first_line(error)}. Export it again."
            ) from error
        except Exception as error:  # ONNX Runtime's own classes
            raise UnsupportedError(
                f"ONNX Runtime {ort.__version__} cannot run {path}: {first_line(error)}"
            ) from error
        self.outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Tensor]) -> list[Outputs]:
        """Return every output for a batch of every input.

        Raises:
            UnsupportedError: ONNX Runtime cannot run the model on it.
        """
        arrays = {name: x.numpy() for name, x in inputs.items()}
        declared = next(iter(self._session.get_inputs()[0].shape), None)
        whole = all(x.ndim and len(x) == declared for x in arrays.values())
        try:
            if not isinstance(declared, int) or whole:
                return list(self._session.run(None, arrays))
            return self._run_in_pieces(arrays, declared)
        except Exception as error:  # ONNX Runtime's own classes
            shapes = ", ".join(str(list(x.shape)) for x in arrays.values())
            raise UnsupportedError(
                f"ONNX Runtime cannot run {self.path} on input of shape {shapes}: "
                f"{first_line(error)}"
            ) from error

    def _run_in_pieces(self, arrays: dict[str, Outputs], size: int) -> list[Outputs]:
        """Outputs of a model of fixed batch; the first rows repeat to fill the last piece."""
        rows = len(next(iter(arrays.values())))
        pieces = -(-rows // size)
        whole = {n: np.resize(x, (pieces * size, *x.shape[1:])) for n, x in arrays.items()}
        columns = [
            self._session.run(None, {n: x[i * size : (i + 1) * size] for n, x in whole.items()})
            for i in range(pieces)
        ]
        if any(y.ndim == 0 or len(y) != size for y in columns[0]):
            raise ValueError(
                f"its outputs {[list(y.shape) for y in columns[0]]} do not begin with its batch of "
                f"{size}. Export it with an open batch axis"
            )
        return [np.concatenate(column)[:rows] for column in zip(*columns, strict=True)]


def first_line(error: Exception) -> str:
    """Return the first line of an error without ONNX Runtime's prefix; its type if it is empty."""
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).strip()
    said = said.rpartition(" failed:")[2].strip() or said
    return next(iter(said.splitlines()), type(error).__name__).rstrip(".")
