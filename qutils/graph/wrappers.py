"""The plain network inside wrappers: a copy without DataParallel, torch.compile and the like."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.optim.swa_utils import AveragedModel

from qutils.errors import InvalidInputError, UnsupportedError

#: Modules that hand their input to one inside, and what they call it; matched by exact type.
_WRAPPERS: dict[type[nn.Module], str] = {
    DataParallel: "module",
    DistributedDataParallel: "module",
    AveragedModel: "module",
}


def plain_copy(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` on the CPU in eval mode, without wrappers at any depth.

    ``DataParallel``, ``DistributedDataParallel``, ``AveragedModel`` and ``torch.compile`` compute
    what the module inside them computes; parameters have its names.

    Raises:
        UnsupportedError: a wrapper with hooks, or what cannot be copied; with the fix.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        memo |= {id(tensor): tensor.detach().clone() for tensor in _made_by_hooks(module)}
    inner = {module: wrapped(module) for module in model.modules()}
    try:
        for module, inside in reversed(inner.items()):  # those inside come first
            if inside is not None:
                memo[id(module)] = copy.deepcopy(inside, memo)
        return copy.deepcopy(model, memo).cpu().eval()
    except Exception as error:
        raise UnsupportedError(
            f"{type(model).__name__} cannot be copied: {first_line(error)}. {_history(model)}"
        ) from error


def wrapped(module: nn.Module) -> nn.Module | None:
    """Return the module inside a wrapper that only passes its input on; None for other modules.

    >>> wrapped(DataParallel(nn.ReLU()))
    ReLU()
    """
    compiled = type(module).__name__ == "OptimizedModule" and hasattr(module, "_orig_mod")
    name = "_orig_mod" if compiled else _WRAPPERS.get(type(module))
    if name is None:
        return None
    if module._forward_hooks or module._forward_pre_hooks:
        raise UnsupportedError(
            f"{type(module).__name__} has forward hooks of its own, which the network inside it "
            f"lacks. Give that network (model.{name}), with the hooks registered there."
        )
    inside: nn.Module = getattr(module, name)
    return inside


def collects_inputs(model: nn.Module) -> bool:
    """Return True if the signature is ``forward(self, *x)``: inputs arrive as one tuple.

    Raises:
        UnsupportedError: ``forward`` does not take one tensor alone.
    """
    signature = inspect.signature(model.forward)
    try:
        signature.bind(torch.empty(0))
    except TypeError as error:
        takes = ", ".join(signature.parameters) or "nothing"
        raise UnsupportedError(
            f"{type(model).__name__}.forward takes {takes}, got one tensor alone ({error}). Give "
            "dicts of tensors by the names of its arguments."
        ) from error
    first = next(iter(signature.parameters.values()))
    return first.kind is inspect.Parameter.VAR_POSITIONAL


def check_arguments(model: nn.Module, named: Mapping[str, Tensor]) -> None:
    """Raise InvalidInputError unless ``forward`` takes these named arguments and no others need be.

    Arguments with a default may be left out.
    """
    signature = inspect.signature(model.forward)
    try:
        signature.bind(**named)
    except TypeError as error:
        raise _misfit(model, signature, named, error) from error
    loose = [name for name in named if name not in signature.parameters]
    if loose:  # a misspelt name would be swallowed
        raise InvalidInputError(
            f"{type(model).__name__}.forward has no argument {', '.join(loose)}, only **kwargs "
            "that take any name. Correct the name, or wrap the model in a module whose forward "
            "names its inputs."
        )


def _misfit(
    model: nn.Module, signature: inspect.Signature, named: Iterable[str], error: TypeError
) -> InvalidInputError:
    """The error for names that ``forward`` does not take: names what is too many or missing."""
    parameters = signature.parameters
    plain = ", ".join(str(one.replace(annotation=one.empty)) for one in parameters.values())
    forward = f"{type(model).__name__}.forward({plain})"
    given, kinds = list(named), {one.kind for one in parameters.values()}
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return InvalidInputError(
            f"{forward} does not take {', '.join(given)}: {error}. Wrap the model in a module "
            "whose forward names its inputs."
        )
    unknown = [name for name in given if name not in parameters]
    needed = [
        name
        for name, one in parameters.items()
        if one.default is one.empty and one.kind is not one.VAR_KEYWORD
    ]
    missing = [name for name in needed if name not in given]
    if unknown and not missing:
        none = "is not an input" if len(unknown) == 1 else "are not inputs"
        return InvalidInputError(
            f"{', '.join(unknown)} {none} of {forward}. Leave {_them(unknown)} out, or name "
            f"{_them(unknown)} as forward does."
        )
    said = [f"{', '.join(missing)} missing"] * bool(missing)
    said += [f"{', '.join(unknown)} unknown"] * bool(unknown)
    return InvalidInputError(
        f"{forward} does not take {', '.join(given)}: {'; '.join(said) or error}. Name the inputs "
        "as forward does."
    )


def _them(names: Collection[str]) -> str:
    return "it" if len(names) == 1 else "them"


def refuse_opaque(model: nn.Module) -> None:
    """Raise UnsupportedError for TorchScript and sharded parameters; with the fix."""
    for name, module in model.named_modules():
        where = f"{type(model).__name__}'s {name}" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise UnsupportedError(
                f"{where} is TorchScript, whose operators cannot be captured. Give the nn.Module "
                "that it was scripted or traced from, with its state dict loaded."
            )
        if type(module).__name__ == "FullyShardedDataParallel":
            raise UnsupportedError(
                f"{where} holds its parameters in shards (FullyShardedDataParallel). Load its full "
                "state dict into the network that it wraps, and give that."
            )
    for name, tensor in model.named_parameters():
        if type(tensor.data).__name__ == "DTensor":
            raise UnsupportedError(
                f"the model's {name} is a DTensor, a part of which is here. Gather each with "
                "full_tensor() into the plain network, and give that."
            )


def _made_by_hooks(module: nn.Module) -> list[Tensor]:
    """The weights that hooks compute before each call, with the history that forbids copies."""
    names = []
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm | SpectralNorm):
            names.append(hook.name)
        elif isinstance(hook, BasePruningMethod):
            names.append(hook._tensor_name)
    made = [vars(module).get(name) for name in names]
    return [tensor for tensor in made if isinstance(tensor, Tensor) and not tensor.is_leaf]


def _history(model: nn.Module) -> str:
    """The fix for a model that cannot be copied, with the attribute that is in the way."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                where = f"{path}.{name}" if path else name
                return f"Its {where} has a gradient history: store {where}.detach() instead."
    return "Give a model that copy.deepcopy can copy."


def first_line(error: Exception) -> str:
    """First line of an error, or its type where it says nothing."""
    said = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return said.strip().rstrip(".:")
