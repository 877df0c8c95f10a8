"""The MODEL argument: a name of the zoo, or a user's own file and what in it makes the model."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from qutils import zoo
from qutils.errors import DataError, InvalidInputError, unknown_name


def read_model(spec: str, weights: Path | None = None) -> nn.Module:
    """The model of ``MODEL``, in eval mode on the CPU, with the weights of a file if one is given.

    A zoo model without ``weights`` has the shipped ones; a model of one's own then keeps those it
    was made with.

    Raises:
        InvalidInputError: no such zoo model, file or name in it, or it does not make a module.
        DataError: the weights cannot be read or do not fit.
    """
    model = _own_model(spec) if is_own(spec) else zoo.load(spec, pretrained=weights is None)
    if weights is not None:
        _load_weights(model, weights)
    return model.cpu().eval()


def is_own(spec: str) -> bool:
    """Whether ``MODEL`` names a user's file rather than a model of the zoo.

    >>> is_own("nets.py:Tiny"), is_own("resnet8")
    (True, False)
    """
    return ".py:" in spec or spec.endswith(".py")


def _own_model(spec: str) -> nn.Module:
    path, _, name = spec.rpartition(":")
    if not path.endswith(".py") or not name:
        raise InvalidInputError(f"{spec} does not say what makes the model: write {spec}:NAME")
    module = _execute(Path(path))
    if not hasattr(module, name):
        raise unknown_name(f"name in {path}", name, _public(module))
    made = getattr(module, name)
    if callable(made) and not isinstance(made, nn.Module):
        made = _call(made, spec)
    if not isinstance(made, nn.Module):
        raise InvalidInputError(
            f"{spec} is a {type(made).__name__}: name an nn.Module, or a class or function without "
            "arguments that returns one"
        )
    return made


def _public(module: ModuleType) -> list[str]:
    """Names that the file itself defines and that may make a model."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or getattr(value, "__module__", "") == module.__name__)
    ]


def _execute(path: Path) -> ModuleType:
    """Import a user's file; modules beside it can be imported by it."""
    if not path.is_file():
        raise InvalidInputError(f"{path} is missing: correct the path of the model's file")
    name = f"qutils_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and torch.export look their module up there
    sys.path.append(str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InvalidInputError(f"{path} cannot be imported: {_said(error)}") from error
    return module


def _call(factory: Any, spec: str) -> Any:
    try:
        return factory()
    except Exception as error:
        raise InvalidInputError(
            f"{spec} cannot be called without arguments: {_said(error)}. Name a function that "
            "takes none and returns the model."
        ) from error


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0].rstrip(".: ")


def _load_weights(model: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing: correct the path of the weights")
    if path.suffix == ".safetensors":
        zoo.load_weights(model, path)
        return
    state = _state(path)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        problems = [line.strip() for line in str(error).splitlines()[1:4]]
        raise DataError(
            f"{path} does not fit {type(model).__name__}: {' '.join(problems)} "
            "Give the weights of this model, or build the model as it was trained."
        ) from error


def _state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of ``torch.save``, read without running pickled code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} is refused: besides tensors it holds pickled Python objects, which can run "
            "any code when they are loaded, or it is corrupt. Save the weights alone: "
            "torch.save(model.state_dict(), path), or as safetensors."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise DataError(
            f"{path} is corrupt or truncated ({path.stat().st_size:,} bytes): {_said(error)}. "
            "Save the weights again: torch.save(model.state_dict(), path)."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError(f"{path} holds no state dict: save it with torch.save(model.state_dict())")
    return state
