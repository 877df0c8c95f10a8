"""The MODEL argument: a name of the zoo, or a user's own file and what in it makes the model."""

from __future__ import annotations

import importlib.util
import inspect
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from qutils import zoo
from qutils.cli.commands.foreign import foreign
from qutils.cli.commands.named import NamedSamples
from qutils.errors import DataError, InvalidInputError, unknown_name
from qutils.graph.axes import Dynamic
from qutils.graph.wrappers import wrapped
from qutils.importers.onnx import import_onnx
from qutils.importers.onnx.class_names import names_in_order
from qutils.importers.onnx.load import Input
from qutils.numerics.tensors import unwrapped

#: Where checkpoints keep the state dict, beside epoch and optimizer.
_NESTED = ("state_dict", "model_state_dict", "model")
#: Attribute of a model from an ONNX file: how close it is to that file, in words.
_PROOF = "proof_of_import"
#: Attribute of a model: what it calls its outputs.
_NAMES = "names"
#: Attribute of an imported model: what the file takes.
_INPUTS = "inputs_of_file"
_OUTPUTS = "outputs_of_file"


def read_model(
    spec: str,
    weights: Path | None = None,
    example: Tensor | NamedSamples | None = None,
    outputs: Sequence[str] = (),
    dynamic: Dynamic | None = None,
    fixed: Mapping[str, float] | None = None,
) -> nn.Module:
    """The model of ``MODEL``, in eval mode on the CPU, with the weights of a file if one is given.

    A zoo model without ``weights`` has the shipped ones; a model of one's own then keeps those it
    was made with. An ONNX file is compared with ONNX Runtime on ``example``, inputs ``[N, ...]``;
    its network may end at the values ``outputs``, take any size of the axes ``dynamic``, and have
    numbers in place of the inputs ``fixed``.

    Raises:
        InvalidInputError: no such zoo model, file or name in it, or it does not make a module.
        DataError: the weights or the ONNX file cannot be read or do not fit.
        UnsupportedError: the ONNX file cannot be imported.
    """
    if is_onnx(spec):
        return _onnx_model(Path(spec), weights, example, outputs, dynamic, fixed)
    if fixed:
        raise InvalidInputError(f"--fix names inputs of an ONNX file, which {spec} is not")
    if outputs:
        raise InvalidInputError(f"--outputs names values of an ONNX file, which {spec} is not")
    if "." in spec and not is_own(spec):
        if (error := foreign(spec)) is not None:
            raise error
        raise InvalidInputError(
            f"{spec} is no model of the zoo ({', '.join([*zoo.MODELS, *zoo.PRETRAINED])}): name a "
            "file and what in it makes the model, as path/to/file.py:NAME, or a float ONNX file, "
            "as path/to/net.onnx"
            + (" (qutils detector takes the .pt files of YOLO)" if spec.endswith(".pt") else "")
        )
    model = _own_model(spec) if is_own(spec) else zoo.load(spec, pretrained=weights is None)
    while (inside := wrapped(model)) is not None:  # weights have the names of what is inside
        model = inside
    if weights is not None:
        _load_weights(model, weights)
    return model.cpu().eval()


def is_own(spec: str) -> bool:
    """Whether ``MODEL`` names a user's file rather than a model of the zoo.

    >>> is_own("nets.py:Tiny"), is_own("net.onnx"), is_own("resnet8")
    (True, True, False)
    """
    return ".py:" in spec or spec.endswith(".py") or is_onnx(spec)


def is_onnx(spec: str) -> bool:
    """Whether ``MODEL`` names an ONNX file."""
    return spec.endswith(".onnx")


def import_line(model: nn.Module) -> str:
    """How close a model from an ONNX file is to that file, in words."""
    return str(getattr(model, _PROOF))


def class_names(model: nn.Module) -> tuple[str, ...] | None:
    """What the model calls its outputs, as its attribute ``names`` or its ONNX file says.

    >>> net = nn.Identity()
    >>> net.names = {0: "cat", 1: "dog"}
    >>> class_names(net)
    ('cat', 'dog')
    """
    return names_in_order(getattr(model, _NAMES, None))


def _onnx_model(
    path: Path,
    weights: Path | None,
    example: Tensor | NamedSamples | None,
    outputs: Sequence[str],
    dynamic: Dynamic | None,
    fixed: Mapping[str, float] | None,
) -> nn.Module:
    if weights is not None:
        raise InvalidInputError(f"{path} holds its weights: leave --weights away")
    given: Tensor | dict[str, Tensor] | None
    if isinstance(example, NamedSamples):
        tensors = example.tensors
        given = next(iter(tensors.values())) if list(tensors) == ["inputs"] else tensors
    else:
        given = example
    imported = import_onnx(path, given, outputs, dynamic, fixed)
    setattr(imported.module, _INPUTS, imported.inputs)
    setattr(imported.module, _OUTPUTS, imported.outputs)
    said = (
        "imported: outputs differ from ONNX Runtime's of the float file by at most "
        f"{imported.difference:.1e} of the largest (n = {imported.samples})"
    )
    if outputs:
        said += f"; ends at {', '.join(outputs)}"
    if fixed:
        said += f"; fixed: {', '.join(f'{name} = {x:g}' for name, x in fixed.items())}"
    said = "; ".join((said, *imported.notes))
    setattr(imported.module, _PROOF, said)
    if imported.names is not None:
        setattr(imported.module, _NAMES, imported.names)
    return imported.module


def file_inputs(model: nn.Module) -> tuple[Input, ...]:
    """Return the inputs of the ONNX file that a model came from; none of others."""
    return getattr(model, _INPUTS, ())


def file_outputs(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the outputs of the ONNX file that a model came from."""
    return getattr(model, _OUTPUTS, ())


def as_named(model: nn.Module, samples: NamedSamples) -> NamedSamples:
    """Return samples by the names, and in the types, of the model's arguments.

    Those of an ONNX file may differ from the names of its inputs. An only array called ``inputs``
    goes to the first argument.
    """
    samples = samples.renamed(argument_names(model, samples))
    found = dict(samples.tensors)
    for one in file_inputs(model):
        if one.argument in found:
            if one.dtype.is_floating_point and not found[one.argument].is_floating_point():
                raise InvalidInputError(
                    f"The data holds {found[one.argument].dtype} for {one.name!r}, which takes "
                    "floats. Give them prepared as in training, as float32."
                )
            found[one.argument] = found[one.argument].to(one.dtype)
    return NamedSamples(found, samples.axes)


def argument_names(model: nn.Module, samples: NamedSamples) -> dict[str, str]:
    """Return the model's argument for each array whose name differs from it."""
    arguments = list(inspect.signature(model.forward).parameters)
    if list(samples.tensors) == ["inputs"] and "inputs" not in arguments:
        return {"inputs": arguments[0]}
    return {one.name: one.argument for one in file_inputs(model)}


def check_name(model: nn.Module, name: str, data: str) -> None:
    """Raise InvalidInputError unless the only array of a file is called as the model's input is.

    An empty name fits, and so does that of the first argument, or of an ONNX file's input.
    """
    first = next(iter(inspect.signature(model.forward).parameters), "inputs")
    names = [one.name for one in file_inputs(model)] or [first]
    if name and name not in (first, *names):
        raise InvalidInputError(
            f"Expected an array {' or '.join(map(repr, names))} in {data}, got {name!r}. Name it "
            "so, or 'inputs', which fits any network of one input."
        )


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
    if path.suffix == ".onnx":
        raise InvalidInputError(
            f"{path} is a whole model, no weights of {type(model).__name__}: give .safetensors, or "
            "a state dict (.pt)"
        )
    if path.suffix == ".safetensors":
        zoo.load_weights(model, path)
        return
    state = _state(path)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        problems = [_short(line.strip()) for line in str(error).splitlines()[1:4]]
        raise DataError(
            f"{path} does not fit {type(model).__name__}: {' '.join(problems)} "
            "Give the weights of this model, or build the model as it was trained."
        ) from error


def _short(problem: str, names: int = 3) -> str:
    """A line of PyTorch's complaint with at most so many of the tensors it lists."""
    listed = problem.rstrip(".").split('", "')
    if len(listed) <= names:
        return problem
    return '", "'.join(listed[:names]) + f'" and {len(listed) - names} more.'


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
    except Exception as error:  # whatever a file of any content makes torch.load raise
        raise DataError(
            f"{path} is corrupt or truncated ({path.stat().st_size:,} bytes): {_said(error)}. "
            "Save the weights again: torch.save(model.state_dict(), path)."
        ) from error
    if isinstance(state, dict):
        state = next((state[key] for key in _NESTED if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        held = f" (it holds {', '.join(map(str, state))})" if isinstance(state, dict) else ""
        raise DataError(
            f"{path} holds no state dict{held}: save it with torch.save(model.state_dict(), path)"
        )
    return unwrapped(state)
