"""The proof of an import: the module computes what ONNX Runtime computes from the file itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor
from torch.fx import GraphModule

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.importers.onnx.divergence import first_diverging
from qutils.importers.onnx.reference import Outputs, Reference, first_line

#: Largest difference that is allowed of any network, of the largest output.
FLOOR = 1e-4
#: So many times ONNX Runtime's own spread is allowed: its outputs with and without optimization
#: differ by the order of float32 sums alone, and ours are a third order.
SPREADS = 4
#: So many samples are compared.
SAMPLES = 8


@dataclass(frozen=True)
class Proof:
    """The largest difference of outputs over the largest output, beside what is allowed.

    ``spread`` is the difference between ONNX Runtime's outputs with and without optimization.
    """

    difference: float
    spread: float
    samples: int

    @property
    def tolerance(self) -> float:
        """What is allowed."""
        return tolerance(self.spread)


def tolerance(spread: float) -> float:
    """Return the largest allowed difference, of the largest output.

    >>> tolerance(0.0), tolerance(4e-4)
    (0.0001, 0.0016)
    """
    return max(FLOOR, SPREADS * spread)


def samples(
    example: Tensor | None, two: Sequence[int | str], dtype: torch.dtype, axis: int | None = 0
) -> Tensor:
    """Return up to ``SAMPLES`` of the example, at least two; random numbers without one.

    Args:
        two: shape of two samples.
        axis: of the batch; None if there is none.
    """
    generator = torch.Generator().manual_seed(0)
    shape = [int(size) for size in two]
    if example is None and dtype == torch.float32:
        return torch.randn(shape, generator=generator)
    if example is None:
        return torch.randint(0, 2, shape, generator=generator).to(dtype)
    x = example.detach().cpu().to(dtype)
    if axis is None:
        return x
    last = x.shape[axis] - 1
    places = range(min(SAMPLES, last + 1)) if last else (0, 0)
    return x.index_select(axis, torch.tensor([*places]))


def enlarged(
    x: Tensor, open_axes: Mapping[int, str], sizes: Mapping[str, tuple[int, int]]
) -> Tensor:
    """Return a batch whose open axes have the larger of their sizes: what is there repeats."""
    for axis, name in open_axes.items():
        places = torch.arange(sizes[name][1]) % x.shape[axis]
        x = x.index_select(axis, places)
    return x


def prove(
    module: GraphModule, path: Path, original: ModelProto, inputs: Mapping[str, Tensor]
) -> Proof:
    """Compare a module's outputs with ONNX Runtime's of the file, on a batch.

    Args:
        original: the file's model; inputs and floats as they are compared.
        inputs: a batch ``[N, ...]`` for every input, in order.

    Raises:
        InvalidInputError: the network's outputs are NaN or Inf.
        UnsupportedError: the module does not run, or its outputs are beyond the tolerance; names
            the first node that differs.
    """
    fused = Reference(path, original, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    plain = Reference(path, original, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    outputs = _outputs(module, path, inputs)
    like = [y.shape for y in outputs]
    expected, other = fused.run(inputs, like), plain.run(inputs, like)
    if not all(np.isfinite(y).all() for y in expected if y.dtype.kind == "f"):
        raise InvalidInputError(f"{path} computes NaN or Inf from its input: look at its weights")
    rows = _rows(inputs)
    for ours, theirs in zip(outputs, expected, strict=True):
        if ours.shape != theirs.shape:
            raise _beyond(path, f"shape {list(ours.shape)}", theirs, FLOOR, "")
    spread = max(map(apart, other, expected))
    found = max(map(apart, outputs, expected))
    if not found <= tolerance(spread):
        worst = int(np.argmax([apart(a, b) for a, b in zip(outputs, expected, strict=True)]))
        where = first_diverging(module, path, original, inputs, tolerance(spread), apart)
        raise _beyond(
            path, f"{found:.2g} of the largest", expected[worst], tolerance(spread), where
        )
    return Proof(found, spread, rows)


def _rows(inputs: Mapping[str, Tensor]) -> int:
    return next((len(x) for x in inputs.values() if x.ndim), 1)


def _outputs(module: GraphModule, path: Path, inputs: Mapping[str, Tensor]) -> list[Outputs]:
    """What the module makes of a batch.

    Raises:
        UnsupportedError: it does not run.
    """
    try:
        with torch.no_grad():
            result = module(*inputs.values())
    except Exception as error:
        raise UnsupportedError(
            f"{path} cannot be imported for a batch of {_rows(inputs)}: {first_line(error)}. "
            "Export it with an open batch axis."
        ) from error
    return [y.numpy() for y in (result.values() if isinstance(result, dict) else (result,))]


def apart(ours: Outputs, theirs: Outputs) -> float:
    """Return the largest difference over the largest value; of integers, how many differ.

    >>> apart(np.float32([1, 2]), np.float32([1, 4]))
    0.5
    """
    if ours.shape != theirs.shape:
        return float("inf")
    if theirs.dtype.kind != "f":
        return float((ours != theirs).mean()) if theirs.size else 0.0
    if not theirs.size:
        return 0.0
    largest = float(np.abs(theirs).max()) or 1.0
    return float(np.abs(ours.astype(np.float64) - theirs).max()) / largest


def _beyond(
    path: Path, found: str, expected: NDArray[Any], allowed: float, where: str
) -> UnsupportedError:
    return UnsupportedError(
        f"{path} cannot be imported: the module's outputs differ from ONNX Runtime's "
        f"{list(expected.shape)} by {found}, allowed is {allowed:.2g}. {where}An operator of it "
        "means something else in PyTorch: quantize the model that it was exported from."
    )
