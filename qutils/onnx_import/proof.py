"""The proof of an import: the module computes what ONNX Runtime computes from the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.runtimes.onnxruntime import OnnxRuntime

Outputs = NDArray[Any]
#: Largest difference that float arithmetic in another order explains, of the largest output.
TOLERANCE = 1e-4
#: So many samples are compared.
SAMPLES = 8


def samples(example: Tensor | None, input_shape: tuple[int, ...]) -> Tensor:
    """Up to ``SAMPLES`` of the example, at least two rows; normal random numbers without one."""
    if example is None:
        return torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
    x = example[:SAMPLES].detach().cpu()
    return x if len(x) > 1 else x[[0, 0]]


def difference(module: nn.Module, runtime: OnnxRuntime, x: Tensor) -> float:
    """``max |module(x) - runtime(x)| / max |runtime(x)|`` over a batch ``[N, ...]``.

    Raises:
        InvalidInputError: the network's outputs are NaN or Inf.
        UnsupportedError: the module does not run, or its outputs are beyond ``TOLERANCE``.
    """
    try:
        expected = _run(runtime, x)
    except InvalidInputError:
        raise
    except Exception as error:  # ONNX Runtime's own classes
        raise UnsupportedError(
            f"ONNX Runtime cannot run {runtime.path} on input of shape {list(x.shape)}: "
            f"{_first_line(error)}"
        ) from error
    if not np.isfinite(expected).all():
        raise InvalidInputError(
            f"{runtime.path} computes NaN or Inf from its input: look at its weights"
        )
    try:
        with torch.no_grad():
            outputs = module(x).numpy()
    except Exception as error:
        raise UnsupportedError(
            f"{runtime.path} cannot be imported for a batch of {len(x)}: {_first_line(error)}. "
            "Export it with an open batch axis."
        ) from error
    if outputs.shape != expected.shape:
        raise UnsupportedError(_beyond(runtime.path, f"shape {list(outputs.shape)}", expected))
    largest = float(np.abs(expected).max()) or 1.0
    found = float(np.abs(outputs - expected).max()) / largest
    if not found <= TOLERANCE:
        raise UnsupportedError(_beyond(runtime.path, f"{found:.2g} of the largest", expected))
    return found


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


def _beyond(path: Path, found: str, expected: Outputs) -> str:
    return (
        f"{path} cannot be imported: the module's outputs differ from ONNX Runtime's "
        f"{list(expected.shape)} by {found}, allowed is {TOLERANCE:g}. An operator of it means "
        "something else in PyTorch: quantize the model that it was exported from."
    )


def _run(runtime: OnnxRuntime, x: Tensor) -> Outputs:
    """Outputs of the file, in pieces of its batch size if that is fixed."""
    size = runtime.input_shape[0]
    if not isinstance(size, int):
        outputs: Outputs = runtime.run(x.numpy())
        return outputs
    rows = np.resize(x.numpy(), (-(-len(x) // size) * size, *x.shape[1:]))  # repeats fill the last
    return np.concatenate([runtime.run(piece) for piece in np.split(rows, len(rows) // size)])[
        : len(x)
    ]
