"""From a float ONNX file to an ``nn.Module`` that can be captured, quantized and trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.fx import GraphModule

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph.axes import Dynamic
from qutils.graph.inputs import BATCH
from qutils.importers.onnx.absorb import absorb_biases
from qutils.importers.onnx.axes import fixed_batch, open_axes, settled_shape, with_batch
from qutils.importers.onnx.call import torch_dtype
from qutils.importers.onnx.class_names import class_names
from qutils.importers.onnx.convert import argument_name, convert
from qutils.importers.onnx.cut import drop_unread, ending_at, infer_types
from qutils.importers.onnx.divergence import SOURCE
from qutils.importers.onnx.fixed import fix_inputs
from qutils.importers.onnx.lift import lift_floats
from qutils.importers.onnx.names import name_nodes
from qutils.importers.onnx.opset import lifted
from qutils.importers.onnx.proof import FLOOR, Proof, enlarged, prove, samples
from qutils.importers.onnx.read import inputs_of, read, shape_of
from qutils.importers.onnx.refused import refuse_unknown, with_advice
from qutils.importers.onnx.simplify import simplified
from qutils.importers.onnx.values import probing
from qutils.reading import reading

#: Inputs of so many axes at the most are sequences, others images.
_SEQUENCE = 3
#: An image is also converted and proven for sides that are larger by this: strides divide it.
_LARGER = 32
Example = Tensor | Sequence[Tensor] | Mapping[str, Tensor]


@dataclass(frozen=True)
class Input:
    """An input of a network: its name, the shape of one sample, the type and the batch axis.

    ``open_axes`` names axes that may have other sizes than ``shape`` says.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    batch_axis: int | None = 0
    open_axes: Mapping[int, str] = field(default_factory=dict)

    def of(self, batch: int | str) -> list[int | str]:
        """Return the shape of so many samples."""
        return with_batch(self.shape, self.batch_axis, batch)

    @property
    def axes(self) -> list[int | str]:
        """The whole shape, with names where axes are open."""
        sizes = enumerate(self.of(BATCH))
        return [self.open_axes.get(place, size) for place, size in sizes]

    @property
    def probed(self) -> dict[str, tuple[int, int]]:
        """Two sizes of each open axis: that of the example, and a larger one."""
        more = _LARGER if len(self.axes) > _SEQUENCE else 1
        sizes = self.of(BATCH)
        return {name: (int(sizes[i]), int(sizes[i]) + more) for i, name in self.open_axes.items()}

    @property
    def argument(self) -> str:
        """Name of the module's argument."""
        return argument_name(self.name)


@dataclass(frozen=True)
class Imported:
    """A float network from a file, with how far it is from ONNX Runtime's reading of that file.

    ``module`` takes the tensors of ``inputs`` and returns one tensor, or a dict of those that
    ``outputs`` names. ``notes`` say what was changed on the way; ``names`` are those of the
    classes, if the file says them.
    """

    module: nn.Module
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    proof: Proof
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample of the first input."""
        return self.inputs[0].shape

    @property
    def difference(self) -> float:
        """The largest difference of outputs over the largest output."""
        return self.proof.difference

    @property
    def samples(self) -> int:
        """Number of inputs that were compared."""
        return self.proof.samples


def load_onnx(
    path: str | Path,
    example: Example | None = None,
    outputs: Sequence[str] = (),
    dynamic: Dynamic | None = None,
    fixed: Mapping[str, float] | None = None,
) -> nn.Module:
    """Return the float network of an ONNX file in eval mode; see ``import_onnx``."""
    return import_onnx(path, example, outputs, dynamic, fixed).module


def import_onnx(
    path: str | Path,
    example: Example | None = None,
    outputs: Sequence[str] = (),
    dynamic: Dynamic | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Imported:
    """Turn a float ONNX file into a module ``[N, ...] -> [N, ...]`` and prove it on inputs.

    Args:
        example: inputs ``[N, ...]``, on which the module is compared with ONNX Runtime (random
            ones otherwise); they settle axes that the file leaves open. For several inputs a
            tensor for each, in order or by name.
        outputs: names of values of the file that the module is to return instead of the file's
            outputs; what they do not need is left out.
        dynamic: names of axes that stay open, by the file's name of the input and by place:
            ``{"image": {2: "height", 3: "width"}}``. They are proven at a second, larger size.
            Otherwise open axes get the sizes of the example.
        fixed: numbers that take the place of inputs, by name: ``{"sampling_rate": 16000}``. The
            module does not take these inputs any more.

    Raises:
        DataError: the file, or one beside it, is missing, truncated or corrupt.
        InvalidInputError: the example does not fit, or is missing where axes are open; no such
            output.
        UnsupportedError: quantized already; an operator, operator set or shape that cannot be
            imported (named); outputs that differ from ONNX Runtime's (names the first node).
    Source: operators as in the ONNX specification.
    """
    file = Path(path)
    model = read(file)
    with reading(file, "Export it again", "no network that can be imported"):
        return _imported(file, model, example, outputs, dynamic, fixed)


def _imported(
    file: Path,
    model: ModelProto,
    example: Example | None,
    outputs: Sequence[str],
    dynamic: Dynamic | None,
    fixed: Mapping[str, float] | None,
) -> Imported:
    """Convert and prove the model of a file; see ``import_onnx``."""
    names = class_names(model)
    fix_inputs(model, fixed or {})
    if isinstance(example, Mapping) and (
        twice := [name for name in example if name in (fixed or {})]
    ):
        raise InvalidInputError(
            f"{', '.join(twice)} of {file} is fixed at a number and in the data as well. Leave it "
            "out of the data."
        )
    if outputs:
        model = ending_at(infer_types(model), outputs)
    drop_unread(model)
    given = _examples(file, model, example)
    model, notes = _prepared(file, model)
    inputs = _inputs(file, model, given, dynamic)
    module = _module(file, model, inputs)
    batch = {i.name: samples(given.get(i.name), i.of(2), i.dtype, i.batch_axis) for i in inputs}
    proof = prove(module, file, model, batch)
    if any(i.open_axes for i in inputs):
        larger = {i.name: enlarged(batch[i.name], i.open_axes, i.probed) for i in inputs}
        proof = max(proof, prove(module, file, model, larger), key=lambda one: one.difference)
    module.meta.clear()
    notes += _settled_axes(model, inputs)
    if proof.difference > FLOOR:
        notes += (f"ONNX Runtime's own, unoptimized and optimized, by {proof.spread:.1e}",)
    ends = tuple(value.name for value in model.graph.output)
    return Imported(module, inputs, ends, proof, notes, names)


def _inputs(
    file: Path, model: ModelProto, given: Mapping[str, Tensor], dynamic: Dynamic | None
) -> tuple[Input, ...]:
    axes = open_axes(file, model, given, dynamic)
    return tuple(
        Input(
            value.name,
            settled_shape(
                file,
                value,
                given[value.name].shape if value.name in given else None,
                axes.batch[value.name],
            ),
            torch_dtype(value.type.tensor_type.elem_type),
            axes.batch[value.name],
            axes.names[value.name],
        )
        for value in inputs_of(model)
    )


def _settled_axes(model: ModelProto, inputs: Sequence[Input]) -> tuple[str, ...]:
    """What was fixed of the axes that the file leaves open, in words."""
    declared = {value.name: shape_of(value) for value in inputs_of(model)}
    fixed = [
        f"{i.name}:{axis} at {size}"
        for i in inputs
        for axis, size in enumerate(i.of(BATCH))
        if isinstance(declared[i.name][axis], str) and axis not in (i.batch_axis, *i.open_axes)
    ]
    if not fixed:
        return ()
    one = fixed[0].split()[0]
    return (f"fixed, though open in the file: {', '.join(fixed)} (--dynamic {one}=size opens it)",)


def _prepared(file: Path, model: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    """The model in float32 and an operator set that is known, with notes of what was changed."""
    widths = lift_floats(model)
    notes = (f"computed in float32, the file in {', '.join(widths)}",) if widths else ()
    try:
        return lifted(model), notes
    except UnsupportedError as error:
        raise UnsupportedError(f"{file}: {error}") from error


def _module(file: Path, model: ModelProto, inputs: Sequence[Input]) -> GraphModule:
    shapes = {i.name: i.axes for i in inputs}
    pairs = {name: pair for i in inputs for name, pair in i.probed.items()}
    axes = {i.name: i.batch_axis for i in inputs}
    with with_advice(file, model), probing(pairs):
        refuse_unknown(model, custom=True)  # what ONNX Runtime could not load either
        source = simplified(model, shapes)
        drop_unread(source)
        paths = name_nodes(source)
        refuse_unknown(source)
        dtypes = {i.name: i.dtype for i in inputs}
        module, nodes = convert(source, paths, shapes, dtypes, fixed_batch(model, axes))
    absorb_biases(module)
    module.meta[SOURCE] = (source, nodes)
    return module


def _examples(file: Path, model: ModelProto, example: Example | None) -> dict[str, Tensor]:
    """Examples by name of the input.

    Raises:
        InvalidInputError: no tensors, or not one for each input.
    """
    names = [value.name for value in inputs_of(model)]
    if example is None:
        return {}
    if isinstance(example, Mapping):
        plain = {argument_name(name): name for name in names}
        given = {plain.get(name, name): x for name, x in example.items()}
    else:
        tensors = [example] if isinstance(example, Tensor) else list(example)
        given = dict(zip(names, tensors, strict=False)) if len(tensors) == len(names) else {}
    if not all(isinstance(x, Tensor) and x.numel() for x in given.values()) or not given:
        if isinstance(example, Tensor) and len(names) > 1:
            raise InvalidInputError(
                f"{file} has the inputs {', '.join(names)}, got one tensor. Give a dict of a "
                "tensor for each."
            )
        raise InvalidInputError("an example is a tensor [N, ...] of at least one input")
    if set(given) != set(names):
        raise InvalidInputError(
            f"{file} has the inputs {', '.join(names)}, got {', '.join(map(str, given))}. Give a "
            "tensor for each."
        )
    return {name: given[name] for name in names}
