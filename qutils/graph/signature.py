"""The named tensors that a network takes and returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from qutils.errors import InvalidInputError, UnsupportedError

#: One batch: a tensor, or tensors by name where a network takes several.
Batch = Tensor | Mapping[str, Tensor]
#: Names of the tensors of a network that takes one and returns one.
INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class TensorSpec:
    """One input of a network: ``[N, *shape]`` of ``dtype``."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        sizes = ", ".join(map(str, ("N", *self.shape)))
        return f"{self.name} [{sizes}] {str(self.dtype).removeprefix('torch.')}"

    def check(self, x: object) -> None:
        """Raise InvalidInputError unless ``x`` is a tensor of this shape and type."""
        if not isinstance(x, Tensor):
            raise InvalidInputError(
                f"the model takes a torch tensor, got {type(x).__name__}: torch.from_numpy(x)"
            )
        if tuple(x.shape[1:]) != self.shape or not x.ndim:
            wanted = ", ".join(map(str, ["N", *self.shape]))
            named = "" if self.name == INPUT else f" for {self.name!r}"
            raise InvalidInputError(
                f"the model takes input of shape [{wanted}]{named}, got {list(x.shape)}"
            )
        if self.dtype.is_floating_point:
            check_dtype(x)
        elif x.dtype != self.dtype:
            wanted = str(self.dtype).removeprefix("torch.")
            raise InvalidInputError(
                f"Expected {self}, got {x.dtype}. Convert it: {self.name}.to(torch.{wanted})."
            )


@dataclass(frozen=True)
class Signature:
    """What a network takes and returns, by name.

    ``outputs`` of a network that returns one tensor is ``("output",)``. Batches of a network with
    one input are tensors, those of others map names to tensors.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...] = (OUTPUT,)

    @classmethod
    def of(cls, *shape: int) -> Signature:
        """Return the signature ``[N, *shape] -> one tensor``, of floats."""
        return cls((TensorSpec(INPUT, shape),))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(spec.name for spec in self.inputs)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample of the only input.

        Raises:
            UnsupportedError: the network takes or returns several tensors, or integers.
        """
        self.require_single()
        return self.inputs[0].shape

    def require_single(self) -> None:
        """Raise UnsupportedError unless one tensor of floats is mapped to one tensor."""
        single = len(self.inputs) == len(self.outputs) == 1
        if not single or not self.inputs[0].dtype.is_floating_point:
            raise UnsupportedError(
                f"Expected a network that maps one tensor of floats to one tensor, got inputs "
                f"{', '.join(map(str, self.inputs))} and outputs {', '.join(self.outputs)}. "
                "Use target onnxruntime, or wrap the network in a module that maps one to one."
            )

    def example(self, samples: int = 1) -> Batch:
        """Return a batch of zeros."""
        zeros = {s.name: torch.zeros(samples, *s.shape, dtype=s.dtype) for s in self.inputs}
        return zeros[INPUT] if self.names == (INPUT,) else zeros

    def arguments(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the tensors of a batch in the order of the inputs.

        Raises:
            InvalidInputError: names, shapes, types or numbers of samples do not fit.
        """
        if not isinstance(batch, Mapping):
            if len(self.inputs) > 1:
                raise InvalidInputError(
                    f"The model takes {self}, got one {type(batch).__name__}. Give a dict of "
                    "tensors by name."
                )
            batch = {self.inputs[0].name: batch}
        self._check_names(batch)
        found = tuple(batch[name] for name in self.names)
        for spec, x in zip(self.inputs, found, strict=True):
            spec.check(x)
        sizes = {name: len(x) for name, x in zip(self.names, found, strict=True)}
        if len(set(sizes.values())) > 1:
            said = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise InvalidInputError(
                f"Inputs of one batch hold different numbers of samples: {said}. Give as many of "
                "each."
            )
        return found

    def _check_names(self, batch: Mapping[str, Tensor]) -> None:
        missing = [name for name in self.names if name not in batch]
        unknown = [name for name in batch if name not in self.names]
        if missing or unknown:
            parts = [f"{', '.join(missing)} missing"] * bool(missing)
            parts += [f"{', '.join(map(str, unknown))} unknown"] * bool(unknown)
            raise InvalidInputError(
                f"The model takes {self}, got {', '.join(map(str, batch))}: {'; '.join(parts)}. "
                "Give the named inputs and no others."
            )

    def pack(self, results: Any) -> Any:
        """Return what a graph returned: one tensor, or a dict of tensors by output name."""
        if isinstance(results, Tensor):
            return results
        return dict(zip(self.outputs, results, strict=True))

    def __str__(self) -> str:
        return ", ".join(map(str, self.inputs))


def check_dtype(x: Tensor) -> None:
    """Raise InvalidInputError unless ``x`` is float32."""
    if not x.dtype.is_floating_point:
        raise InvalidInputError(
            f"the model takes float input, got {x.dtype}: normalize the pictures"
        )
    if x.dtype != torch.float32:
        raise InvalidInputError(f"the model takes float32 input, got {x.dtype}: call .float()")


def named_outputs(returned: Any) -> dict[str, Tensor]:
    """Name the tensors that a network returned: by keys, by place, or ``output`` if it is one.

    Nested containers are flattened, ``None`` is left out; names of nested ones are joined by dots.

    >>> list(named_outputs({"boxes": torch.zeros(1), "masks": [torch.zeros(1), None]}))
    ['boxes', 'masks.0']
    """
    if isinstance(returned, Tensor):
        return {OUTPUT: returned}
    leaves, _ = pytree.tree_flatten_with_path(returned)
    return {_name(path): leaf for path, leaf in leaves if isinstance(leaf, Tensor)}


def _name(path: Iterable[Any]) -> str:
    """``.boxes`` or ``['boxes']`` -> ``boxes``; ``[0]`` -> ``output_0`` at the top, else ``0``."""
    parts = [str(key).strip("[].'") for key in path]
    first = f"{OUTPUT}_{parts[0]}" if parts[0].isdigit() else parts[0]
    return ".".join([first, *parts[1:]])


def samples_in(batch: Batch) -> int:
    """Return the number of samples of a batch."""
    return len(next(iter(batch.values())) if isinstance(batch, Mapping) else batch)
