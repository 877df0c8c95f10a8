"""Tensors of a module as safetensors: written atomically, read without executing anything."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from qutils.errors import DataError
from qutils.files import atomic_path
from qutils.reading import reading

#: Where the metadata of a simulated model's file tells its recipe.
SIMULATED = "qutils.simulated"
_BROKEN = "corrupt or truncated, or no safetensors file"
_FIX = "Save it again (safetensors.torch.save_file, qutils.save)"
_WRAPPERS = ("_orig_mod.", "module.")


def write_tensors(model: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write the state dict of ``model``, and words about it, atomically; returns ``path``.

    Raises:
        DataError: the folder cannot be written; an earlier file is intact.
    """
    path = Path(path)
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    words = dict(metadata) if metadata else None
    with atomic_path(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors, words))
    return path


def read_metadata(path: Path) -> dict[str, str]:
    """The words that ``write_tensors`` put beside the tensors.

    Raises:
        DataError: the file is missing or is no safetensors file.
    """
    with reading(path, _FIX, _BROKEN), safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def read_tensors(model: nn.Module, path: Path) -> None:
    """Copy the tensors of a file into ``model``; nothing is copied if any is amiss.

    Raises:
        DataError: the file cannot be read, or its names or shapes are not those of ``model``.
    """
    with reading(path, _FIX, _BROKEN):
        tensors = safetensors.torch.load_file(path)
    tensors = unwrapped(tensors)
    problems = _mismatches(model.state_dict(), tensors)
    if problems:
        if SIMULATED in read_metadata(path) and not hasattr(model, "quantizers"):
            raise DataError(
                f"{path} holds a simulated model, no float weights: open it with "
                "qutils.load(path, model)"
            )
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise DataError(
            f"{path} does not fit {type(model).__name__}: {'; '.join(problems[:3])}{more}. "
            f"Give the checkpoint of this model, or build the model as it was trained."
        )
    model.load_state_dict(tensors)


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the prefix that ``torch.compile`` and ``DataParallel`` put before all of them.

    >>> list(unwrapped({"module.fc.weight": torch.zeros(1)}))
    ['fc.weight']
    """
    state = dict(state)
    for prefix in _WRAPPERS:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _mismatches(model: Mapping[str, Tensor], file: Mapping[str, Tensor]) -> list[str]:
    """What keeps the tensors of a file from being loaded, one phrase each."""
    missing = [f"{name} is missing in the file" for name in model if name not in file]
    strange = [f"{name} is not in the model" for name in file if name not in model]
    both = zip_longest(missing, strange)  # side by side: a prefix shows
    problems = [problem for pair in both for problem in pair if problem]
    for name, tensor in model.items():
        if name in file and file[name].shape != tensor.shape:
            problems.append(
                f"{name} is {list(file[name].shape)} in the file, {list(tensor.shape)} in the model"
            )
    return problems
