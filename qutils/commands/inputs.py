"""Network inputs of one's own, from ``.npz`` and ``.npy`` files; nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qutils import zoo
from qutils.errors import DataError, InvalidInputError

_BATCH = 64
_Array = NDArray[np.generic]


@dataclass(frozen=True)
class Inputs:
    """Network inputs ``[N, ...]`` float32, with labels ``[N]`` or without."""

    x: Tensor
    y: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Inputs:
        """The inputs at these places."""
        return Inputs(self.x[index], None if self.y is None else self.y[index])

    def batches(self) -> list[tuple[Tensor, Tensor | None]]:
        """Views of up to 64 inputs with their labels."""
        cuts = [slice(start, start + _BATCH) for start in range(0, len(self), _BATCH)]
        return [(self.x[cut], None if self.y is None else self.y[cut]) for cut in cuts]


def read_inputs(path: Path) -> Inputs:
    """Inputs, and labels where there are any, of an ``.npz`` or ``.npy`` file or a folder.

    Raises:
        InvalidInputError: no such file, no inputs, NaN or Inf, not floats, labels that do not fit.
        DataError: a file is corrupt or truncated.
    """
    if not path.exists():
        raise InvalidInputError(
            f"{path} is neither a file nor a dataset: give one of {', '.join(zoo.DATASETS)}, an "
            ".npz or .npy file of inputs [N, ...], or a folder of .npy files"
        )
    if path.is_dir():
        x, y = _folder(path)
    elif path.suffix == ".npz":
        x, y = _archive(path)
    elif path.suffix == ".npy":
        x, y = _load(path), None
    else:
        raise InvalidInputError(f"{path}: inputs are read from .npz and .npy files")
    inputs = _floats(x, path)
    return Inputs(inputs, None if y is None else _classes(y, len(inputs), path))


def _folder(path: Path) -> tuple[_Array, _Array | None]:
    """One input a file, in the order of their names; ``labels.npy`` has the labels."""
    files = sorted(p for p in path.glob("*.npy") if p.name != "labels.npy")
    if not files:
        raise InvalidInputError(f"{path} holds no .npy files: put one input into each")
    arrays = [_load(file) for file in files]
    for file, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise InvalidInputError(
                f"{file} has shape {list(array.shape)}, {files[0].name} {list(arrays[0].shape)}: "
                "give all inputs the same shape"
            )
    labels = path / "labels.npy"
    return np.stack(arrays), _load(labels) if labels.is_file() else None


def _archive(path: Path) -> tuple[_Array, _Array | None]:
    """``inputs``, or the only array that is not ``labels``."""
    loaded = _load(path)
    arrays: dict[str, _Array] = loaded if isinstance(loaded, dict) else {"inputs": loaded}
    labels = arrays.pop("labels", None)
    if "inputs" not in arrays and len(arrays) != 1:
        raise InvalidInputError(
            f"{path} holds the arrays {', '.join(sorted(arrays)) or 'none'}: "
            "name the network's inputs 'inputs' (and their classes 'labels')"
        )
    return arrays["inputs"] if "inputs" in arrays else next(iter(arrays.values())), labels


def _load(path: Path) -> Any:
    """An array, or the dict of arrays of an ``.npz`` file."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return dict(loaded)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} is not a sound NumPy file ({path.stat().st_size:,} bytes): {said}. Write it "
            "again with numpy.save or numpy.savez, as plain numbers (objects are never unpickled)."
        ) from error


def _floats(x: _Array, path: Path) -> Tensor:
    """Inputs as float32, if they are sound."""
    if x.ndim < 2 or len(x) == 0:
        raise InvalidInputError(
            f"{path} holds inputs of shape {list(x.shape)}: give at least one, as [N, ...]"
        )
    if not np.issubdtype(x.dtype, np.floating):
        raise InvalidInputError(
            f"{path} holds inputs of {x.dtype}: give floats, prepared as the model was trained"
        )
    sound = np.isfinite(x).reshape(len(x), -1).all(axis=1)  # [N]
    if not sound.all():
        raise InvalidInputError(
            f"{path} holds NaN or Inf in {int((~sound).sum()):,} of {len(x):,} inputs, the first "
            f"is number {int(np.argmin(sound))}: remove them"
        )
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))


def _classes(y: _Array, n: int, path: Path) -> Tensor:
    """Labels as int64 ``[N]``, if they are class numbers."""
    if y.shape != (n,) or not np.issubdtype(y.dtype, np.integer) or int(np.min(y)) < 0:
        raise InvalidInputError(
            f"{path} holds labels of shape {list(y.shape)} and {y.dtype}: give class numbers from "
            f"0 on, one for each of the {n:,} inputs"
        )
    return torch.from_numpy(y.astype(np.int64))
