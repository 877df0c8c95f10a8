"""The named tensors that a network takes and returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph.axes import Layout
from qutils.graph.inputs import BATCH, INPUT, OpenAxis, TensorSpec
from qutils.nested import flat

#: One batch: a tensor, or tensors by name where a network takes several.
Batch = Tensor | Mapping[str, Tensor]
#: Name of the output of a network that returns one tensor.
OUTPUT = "output"


@dataclass(frozen=True)
class Signature:
    """What a network takes and returns, by name.

    ``outputs`` of a network that returns one tensor is ``("output",)``. Batches of a network with
    one input are tensors, those of others map names to tensors. ``open_axes`` are those that inputs
    name in their shapes; inputs that name the same axis have the same size there.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...] = (OUTPUT,)
    open_axes: tuple[OpenAxis, ...] = ()

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
            UnsupportedError: the network takes or returns several tensors, or integers, or its
                input has open axes.
        """
        self.require_single()
        self.require_fixed()
        return tuple(size for size in self.inputs[0].shape if isinstance(size, int))

    def require_single(self) -> None:
        """Raise UnsupportedError unless one tensor of floats is mapped to one tensor."""
        single = len(self.inputs) == len(self.outputs) == 1
        if not single or not self.inputs[0].dtype.is_floating_point:
            raise UnsupportedError(
                f"Expected a network that maps one tensor of floats to one tensor, got inputs "
                f"{self} and outputs {', '.join(self.outputs)}. "
                "Use target onnxruntime, or wrap the network in a module that maps one to one."
            )

    def require_batches(self) -> None:
        """Raise UnsupportedError unless inputs are of fixed size and begin with the batch."""
        self.require_fixed()
        if not self.is_batched:
            raise UnsupportedError(
                f"Expected inputs whose first axis is the batch, got {self}. Use target "
                "onnxruntime or openvino."
            )

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one sample of every input.

        Raises:
            UnsupportedError: inputs have open axes, or do not begin with the batch.
        """
        self.require_batches()
        return tuple(tuple(int(size) for size in spec.shape) for spec in self.inputs)

    def require_fixed(self) -> None:
        """Raise UnsupportedError if axes other than the batch are open."""
        if self.open_axes:
            raise UnsupportedError(
                f"Expected inputs of fixed size, got {self}. Use target onnxruntime or openvino, "
                "or calibrate with samples of one size."
            )

    @property
    def sizes(self) -> dict[str, int]:
        """The size with which each open axis was traced."""
        return {axis.name: axis.size for axis in self.open_axes}

    def example(self, samples: int = 1) -> Batch:
        """Return a batch of zeros, open axes of the size they were traced with."""
        zeros = {spec.name: spec.example(samples, self.sizes) for spec in self.inputs}
        return zeros[INPUT] if self.names == (INPUT,) else zeros

    def arguments(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the tensors of a batch in the order of the inputs.

        Raises:
            InvalidInputError: names, shapes, types, values or numbers of samples do not fit.
        """
        if not isinstance(batch, Mapping):
            if len(self.inputs) > 1:
                raise InvalidInputError(
                    f"The model takes {self}, got one {type(batch).__name__}. Give a dict of "
                    "tensors by name."
                )
            batch = {self.inputs[0].name: batch}
        batch = flat(batch)
        self._check_names(batch)
        found = tuple(batch[name] for name in self.names)
        for spec, x in zip(self.inputs, found, strict=True):
            spec.check(x)
        self._check_sizes(found)
        return found

    def samples(self, given: Sequence[Tensor]) -> int:
        """Return the number of samples of ``arguments``; 1 if no input has a batch axis."""
        pairs = zip(self.inputs, given, strict=True)
        return next((x.shape[s.batch_axis] for s, x in pairs if s.batch_axis is not None), 1)

    def part(self, batch: Batch, most: int) -> Batch:
        """Return up to ``most`` samples of a batch, in tensors of their own."""
        given = zip(self.inputs, self.arguments(batch), strict=True)
        parts = {
            spec.name: x.narrow(spec.batch_axis, 0, min(most, x.shape[spec.batch_axis])).clone()
            if spec.batch_axis is not None
            else x.clone()
            for spec, x in given
        }
        return parts if isinstance(batch, Mapping) else next(iter(parts.values()))

    @property
    def layout(self) -> Layout:
        """Where each input has its batch."""
        return Layout({spec.name: spec.batch_axis for spec in self.inputs}, {})

    @property
    def is_batched(self) -> bool:
        """Whether the batch is the first axis of every input."""
        return all(spec.batch_axis == 0 for spec in self.inputs)

    def _check_sizes(self, found: tuple[Tensor, ...]) -> None:
        """Refuse inputs that differ along the batch or an open axis, or are too long."""
        by_axis: dict[str, list[tuple[str, int]]] = {}
        for spec, x in zip(self.inputs, found, strict=True):
            for axis, size in zip(spec.axes, x.shape, strict=True):
                if isinstance(axis, str):
                    by_axis.setdefault(axis, []).append((spec.name, size))
        most = {axis.name: axis.most for axis in self.open_axes}
        for axis, sizes in by_axis.items():
            said = ", ".join(f"{name} {size}" for name, size in sizes)
            if len({size for _, size in sizes}) > 1:
                what = "numbers of samples" if axis == BATCH else f"sizes of the axis {axis!r}"
                raise InvalidInputError(
                    f"Inputs of one batch hold different {what}: {said}. Give as many of each."
                )
            limit = most.get(axis)
            if limit is not None and sizes[0][1] > limit:
                raise InvalidInputError(
                    f"Expected a size of at most {limit} for the axis {axis!r}, got {said}. Cut or "
                    "split longer inputs."
                )

    def _check_names(self, batch: Mapping[str, Tensor]) -> None:
        missing = [name for name in self.names if name not in batch]
        unknown = [name for name in batch if name not in self.names]
        if missing or unknown:
            parts = [f"{', '.join(missing)} missing"] * bool(missing)
            parts += [f"{', '.join(map(str, unknown))} unknown"] * bool(unknown)
            default = " What calibration left out keeps its default." if unknown else ""
            raise InvalidInputError(
                f"The model takes {self}, got {', '.join(map(str, batch)) or 'none'}: "
                f"{'; '.join(parts)}. Give the named inputs and no others.{default}"
            )

    def pack(self, results: Any) -> Any:
        """Return what a graph returned: one tensor, or a dict of tensors by output name."""
        if isinstance(results, Tensor):
            return results
        return dict(zip(self.outputs, results, strict=True))

    def __str__(self) -> str:
        return ", ".join(map(str, self.inputs))


def arrays_of(batch: Batch) -> Any:
    """Return a batch as a runtime takes it: an array, or arrays by name."""
    if isinstance(batch, Mapping):
        return {name: x.detach().numpy() for name, x in batch.items()}
    return batch.detach().numpy()


def tensors_of(arrays: Any) -> dict[str, Tensor]:
    """Return what a runtime made, one array or several by name, as tensors by name."""
    named = arrays if isinstance(arrays, Mapping) else {OUTPUT: arrays}
    return {name: torch.as_tensor(array) for name, array in named.items()}


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
