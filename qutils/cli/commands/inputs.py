"""Network inputs of one's own, from NumPy's files, never unpickled, or folders of pictures."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qutils import zoo
from qutils.cli.commands.look import AS_USUAL, Look
from qutils.cli.commands.named import NamedSamples, named_samples
from qutils.errors import InvalidInputError
from qutils.graph.axes import Dynamic
from qutils.reading import EXPANSION, reading
from qutils.zoo import Photographs

#: The name of the only array of a file, whatever the network calls its input.
INPUTS = "inputs"
#: The name that ``numpy.savez(path, x)`` gives by itself.
_UNNAMED = "arr_0"
_BATCH = 64
_WRITE = (
    "Write it again with numpy.save or numpy.savez, as plain numbers (objects are never unpickled)"
)
_Array = NDArray[np.generic]


@dataclass(frozen=True)
class Inputs:
    """Network inputs ``[N, ...]`` float32, several by name, or pictures decoded as they come.

    With labels ``[N]`` or without. ``name`` is what an ``.npz`` file calls its only array; empty
    where it has no name of its own.
    """

    x: Tensor | Photographs | NamedSamples
    y: Tensor | None = None
    name: str = ""

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Inputs:
        """The inputs at these places."""
        x = self.x.pick(index) if isinstance(self.x, Photographs) else self.x[index]
        return Inputs(x, None if self.y is None else self.y[index], self.name)

    def batches(self) -> Iterable[tuple[Tensor | NamedSamples, Tensor | None]]:
        """Views of up to 64 inputs with their labels; of pictures, batches as they are decoded."""
        if isinstance(self.x, Photographs):
            return self.x
        cuts = [slice(start, start + _BATCH) for start in range(0, len(self), _BATCH)]
        return [(self.x[cut], None if self.y is None else self.y[cut]) for cut in cuts]


def read_inputs(path: Path, look: Look = AS_USUAL, dynamic: Dynamic | None = None) -> Inputs:
    """Inputs, and labels where there are any, of an ``.npz`` or ``.npy`` file or a folder.

    A folder holds ``.npy`` files, or pictures, or folders of pictures named by class.

    Raises:
        InvalidInputError: no such file, no inputs, NaN or Inf, not floats, labels that do not fit.
        DataError: a file is corrupt or truncated, or pictures cannot be read: counted and named.
    """
    if not path.exists():
        raise InvalidInputError(
            f"{path} is neither a file nor a dataset: give one of {', '.join(zoo.DATASETS)}, an "
            ".npz or .npy file of inputs [N, ...], or a folder of .npy files or of pictures"
        )
    if zoo.holds_pictures(path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of small ones: the summary tells
            photographs = zoo.read_photographs(path, look.preprocessing, look.classes)
        return Inputs(photographs, photographs.labels)
    name = ""
    if path.is_dir():
        x, y = _folder(path)
    elif path.suffix == ".npz":
        found, y = _archive(path)
        only, x = next(iter(found.items()))
        if len(found) > 1 or not np.issubdtype(x.dtype, np.floating):
            samples = named_samples(found, path, dynamic)
            return Inputs(samples, None if y is None else _classes(y, len(samples), path))
        name = "" if only == INPUTS else only
    elif path.suffix == ".npy":
        x, y = _load(path), None
    else:
        raise InvalidInputError(f"{path}: inputs are read from .npz and .npy files")
    inputs = _floats(x, path)
    return Inputs(inputs, None if y is None else _classes(y, len(inputs), path), name)


def _folder(path: Path) -> tuple[_Array, _Array | None]:
    """One input a file, in the order of their names; ``labels.npy`` has the labels."""
    files = sorted(p for p in path.glob("*.npy") if p.name != "labels.npy")
    if not files:
        raise InvalidInputError(
            f"{path} holds neither .npy files nor pictures: put one input into each"
        )
    arrays = [_load(file) for file in files]
    for file, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise InvalidInputError(
                f"{file} has shape {list(array.shape)}, {files[0].name} {list(arrays[0].shape)}: "
                "give all inputs the same shape"
            )
    labels = path / "labels.npy"
    return np.stack(arrays), _load(labels) if labels.is_file() else None


def _archive(path: Path) -> tuple[dict[str, _Array], _Array | None]:
    """The arrays by name, one or more, and ``labels``; one without a name is ``inputs``."""
    loaded = _load(path)
    arrays: dict[str, _Array] = loaded if isinstance(loaded, dict) else {INPUTS: loaded}
    labels = arrays.pop("labels", None)
    if not arrays:
        raise InvalidInputError(
            f"{path} holds no inputs. Name the array of a network's only input '{INPUTS}' (and its "
            "classes 'labels'), those of several as forward names its arguments."
        )
    return ({INPUTS: arrays[_UNNAMED]} if [*arrays] == [_UNNAMED] else arrays), labels


def _load(path: Path) -> Any:
    """An array, or the dict of arrays of an ``.npz`` file."""
    with reading(path, _WRITE, "not a sound NumPy file"):
        try:
            return _arrays(path)
        except ValueError as error:
            if "pickle" in str(error):
                raise ValueError("no arrays of plain numbers") from error
            raise


def _arrays(path: Path) -> Any:
    """An array, or the dict of arrays; ValueError where one declares more than there is."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                room = min(member.file_size, EXPANSION * path.stat().st_size)
                with archive.open(member) as file:
                    _check_header(file, room, member.filename)
    else:
        with path.open("rb") as file:
            _check_header(file, path.stat().st_size, path.name)
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        return dict(loaded)


def _check_header(file: IO[bytes], room: int, name: str) -> None:
    """Raise ValueError unless an array's header fits so many bytes."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        reader = np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    declared = math.prod(shape) * dtype.itemsize
    if declared > room:
        raise ValueError(f"{name} declares {declared:,} bytes, and holds {room:,} at most")


def _floats(x: _Array, path: Path) -> Tensor:
    """Inputs as float32, if they are sound."""
    if x.ndim < 2 or len(x) == 0:
        raise InvalidInputError(
            f"{path} holds inputs of shape {list(x.shape)}: give at least one, as [N, ...]"
        )
    if not np.issubdtype(x.dtype, np.floating):
        raise InvalidInputError(
            f"{path} holds inputs of {x.dtype}: give floats, prepared as the model was "
            "trained; name integers, such as token ids, as forward names the argument"
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
    if y.shape != (n,):
        amiss = f"of shape {list(y.shape)}"
    elif not np.issubdtype(y.dtype, np.integer):
        amiss = f"of {y.dtype}"
    elif int(np.min(y)) < 0:
        amiss = f"down to {int(np.min(y))}"
    else:
        return torch.from_numpy(y.astype(np.int64))
    raise InvalidInputError(
        f"{path} holds labels {amiss}: give whole numbers from 0 on, one class for each of the "
        f"{n:,} inputs (shape [{n}])"
    )
