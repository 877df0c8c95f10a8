"""ONNX Runtime's outputs of a float model, for batches of any size."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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

    def run(
        self, inputs: Mapping[str, Tensor], like: Sequence[Sequence[int]] = ()
    ) -> list[Outputs]:
        """Return every output for a batch of every input.

        Args:
            like: shapes of the outputs, as far as they are known: they tell which axis of a model
                of fixed batch holds the samples, where several have its size.

        Raises:
            UnsupportedError: ONNX Runtime cannot run the model on it.
        """
        arrays = {name: x.numpy() for name, x in inputs.items()}
        try:
            axes = self._fixed_batch(arrays)
            if not axes:
                return list(self._session.run(None, arrays))
            return self._run_in_pieces(arrays, axes, like)
        except Exception as error:  # ONNX Runtime's own classes
            shapes = ", ".join(str(list(x.shape)) for x in arrays.values())
            raise UnsupportedError(
                f"ONNX Runtime cannot run {self.path} on input of shape {shapes}: "
                f"{first_line(error)}"
            ) from error

    def _fixed_batch(self, arrays: Mapping[str, Outputs]) -> dict[str, tuple[int, int]]:
        """By input: the axis where the file fixes a size that the data does not have, its size."""
        found: dict[str, tuple[int, int]] = {}
        for each in self._session.get_inputs():
            for axis, size in enumerate(each.shape):
                if isinstance(size, int) and 0 < size != arrays[each.name].shape[axis]:
                    found.setdefault(each.name, (axis, size))
        return found

    def _run_in_pieces(
        self,
        arrays: Mapping[str, Outputs],
        batch: Mapping[str, tuple[int, int]],
        like: Sequence[Sequence[int]],
    ) -> list[Outputs]:
        """Outputs of a model of fixed batch; the first samples repeat to fill the last piece.

        Args:
            batch: axis and size of the batch, of each input that has one.
        """
        first, (axis, size) = next(iter(batch.items()))
        samples = arrays[first].shape[axis]
        columns = []
        for start in range(0, samples, size):
            piece = dict(arrays)
            for name, (axis, _) in batch.items():
                places = range(start, start + size)
                piece[name] = np.take(piece[name], places, axis, mode="wrap")
            columns.append(self._session.run(None, piece))
        results = []
        for place, column in enumerate(zip(*columns, strict=True)):
            whole = tuple(like[place]) if place < len(like) else ()
            axis = _batch_axis(column[0].shape, size, samples, whole)
            results.append(np.take(np.concatenate(column, axis), range(samples), axis))
        return results


def _batch_axis(
    shape: tuple[int, ...], size: int, samples: int, whole: tuple[int, ...] = ()
) -> int:
    """The axis of an output that holds its batch of ``size``.

    Where several have that size: the one in which ``whole``, the shape of all samples, differs;
    otherwise the first.

    Raises:
        ValueError: no axis may be it, or several may and it is not the first.
    """
    fitting = [axis for axis, length in enumerate(shape) if length == size]
    for axis in fitting:
        if whole == (*shape[:axis], samples, *shape[axis + 1 :]):
            return axis
    if not fitting or (fitting[0] and len(fitting) > 1):
        raise ValueError(
            f"which axis of its output {list(shape)} is the batch of {size} cannot be told. Export "
            "it with an open batch axis"
        )
    return fitting[0]


def first_line(error: Exception) -> str:
    """Return the first line of an error without ONNX Runtime's prefix; its type if it is empty."""
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).strip()
    said = said.rpartition(" failed:")[2].strip() or said
    return next(iter(said.splitlines()), type(error).__name__).rstrip(".")
