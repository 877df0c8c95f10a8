"""From any ``nn.Module`` to a flat, functional ATen graph that keeps parameter names."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map_only

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph.affine_maps import fold_affine_maps
from qutils.graph.attention import check_attention
from qutils.graph.axes import Dynamic, Layout, layout
from qutils.graph.casts import drop_idle_casts
from qutils.graph.constants import fold_constants
from qutils.graph.decompose import decompose
from qutils.graph.fold import fold_batch_norm
from qutils.graph.identity import Identity, identity_of
from qutils.graph.inputs import INPUT, check_dtype
from qutils.graph.lookups import failed_lookup
from qutils.graph.nodes import argument, layer_of, op_name, read_by
from qutils.graph.norm import replace_batch_norm
from qutils.graph.parameters import frozen_names
from qutils.graph.quiet import quiet
from qutils.graph.recurrent import close_lengths, open_lengths
from qutils.graph.rewrite import rewrite
from qutils.graph.signature import OUTPUT, Batch, Signature, named_outputs
from qutils.graph.traced import fixed_axis, inputs_of_trace, open_sizes, traced_with
from qutils.graph.wrappers import (
    check_arguments,
    collects_inputs,
    first_line,
    plain_copy,
    refuse_opaque,
)
from qutils.nested import arguments_of, flat, in_order, rebuilt

#: Operators that PyTorch counts as random, and are not where nothing trains.
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
_SETTLED = _RECURRENT | {"dropout", "native_dropout", "rrelu", "scaled_dot_product_attention"}


@dataclass(frozen=True)
class Captured:
    """A float graph, BatchNorm folded, with the names of what it takes and returns.

    The graph takes the tensors of ``signature`` in order and returns one, or a tuple of several.
    ``own_biases`` where ``with_own_biases`` gave layers a bias that the model has not. ``identity``
    says which network it is.
    """

    module: GraphModule
    signature: Signature
    identity: Identity
    own_biases: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample; UnsupportedError if the network takes or returns several tensors."""
        return self.signature.input_shape

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the parameters that the model's owner froze: training leaves them alone."""
        return frozen_names(self.module)

    def freeze(self, names: Collection[str]) -> None:
        """Freeze the parameters of these names, and no others."""
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(name not in names)

    def check(self, batch: Batch) -> None:
        """Raise InvalidInputError unless the batch holds what the network takes."""
        self.signature.arguments(batch)


def capture(model: nn.Module, example: Batch, dynamic: Dynamic | Layout | None = None) -> Captured:
    """Trace ``model`` in eval mode with a dynamic batch and fold its BatchNorm.

    The caller's model is copied, never changed; wrappers (``DataParallel``, ``torch.compile``) are
    left out of the copy. What depends on parameters alone is computed once, as the weights of
    ``weight_norm`` are.

    Args:
        example: ``[N, ...]`` floats, any N; or a dict of tensors by the names of ``forward``'s
            arguments, integers (token ids) and scalars among them. Arguments that are left out
            keep their defaults. A tensor inside a tuple, list or dict goes by the path to it:
            the second of ``state`` is ``state_1``.
        dynamic: names of the axes that may have any size, by input (``"input"``, if it has no
            name) and place: ``{"ids": {1: "sequence"}}``. ``"batch"`` marks a batch that is not the
            first axis, ``None`` a first axis that is no batch.

    Raises:
        InvalidInputError: no module; a parameter or buffer holds NaN or Inf or is not float32 (it
            is named); the model does not run on the example; ``dynamic`` does not fit it.
        UnsupportedError: ``torch.export`` cannot trace the model; the reason is given.
    Source: ``torch.export``; folding as in Nagel et al. 2021, section 3.2.
    """
    if not isinstance(model, nn.Module):
        raise InvalidInputError(
            f"the model is a {type(model).__name__}: give an nn.Module that is made already"
        )
    named = _checked(example)
    axes = dynamic if isinstance(dynamic, Layout) else layout([named], dynamic)
    refuse_opaque(model)
    check_tensors(model)
    model = _own_copy(model)
    if isinstance(example, Mapping):
        named = flat(in_order(model, arguments_of(model, named)))
    two = {name: traced_with(x, axes, name) for name, x in named.items()}
    given = rebuilt(named, two)
    if isinstance(example, Mapping):
        check_arguments(model, given)
    collected = not isinstance(example, Mapping) and collects_inputs(model)
    outputs = _run(model, given)
    sizes = rebuilt(named, {name: open_sizes(axes, name) for name in named})
    program = _export(model, given, sizes, collected, axes)
    module = _flatten(program, outputs)
    fold_constants(module)
    identity = identity_of(module)
    fold_batch_norm(module)
    replace_batch_norm(module)
    drop_idle_casts(module)
    fold_affine_maps(module)
    rewrite(module)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    specs, open_axes = inputs_of_trace(module, two, axes, program.range_constraints)
    free = _free_names(outputs, named)
    return Captured(module, Signature(specs, free, open_axes), identity)


def _free_names(outputs: Sequence[str], taken: Collection[str]) -> tuple[str, ...]:
    """Names of the outputs; one that an input has, ``state``, becomes ``state_out``."""
    found: list[str] = []
    for name in outputs:
        free = name
        while free in taken or free in found or (free != name and free in outputs):
            free += "_out"
        found.append(free)
    return tuple(found)


def _checked(example: Batch) -> Mapping[str, Tensor]:
    """The example by name; one tensor goes by ``input``."""
    if isinstance(example, Tensor):
        if example.ndim < 2 or len(example) == 0:
            raise InvalidInputError(
                f"an example input needs a batch and more axes, got {list(example.shape)}"
            )
        check_dtype(example)
        return {INPUT: example}
    if not example:
        raise InvalidInputError("The example holds no tensors. Give them by name.")
    example = flat(example)
    for name, x in example.items():
        if not isinstance(x, Tensor):
            raise InvalidInputError(
                f"Expected a tensor for the input {name!r}, got {type(x).__name__}. Leave it out "
                "if it has a default; otherwise wrap the model in a module that sets it."
            )
        if x.numel() == 0:
            raise InvalidInputError(
                f"Input {name!r} is empty: {list(x.shape)}. Give at least one sample."
            )
        if x.dtype.is_floating_point:
            check_dtype(x)
    return example


def check_tensors(model: nn.Module) -> None:
    """Raise InvalidInputError for a parameter or buffer that is not finite float32.

    A buffer may hold ``-inf``, as causal masks do.
    """
    buffers = dict(model.named_buffers())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise InvalidInputError(
                f"the model's {name} is not initialised: its layer is lazy and takes its shape "
                "from the first input. Call model(x) once, load the trained weights, then quantize."
            )
        if tensor.is_meta:
            raise InvalidInputError(
                f"the model's {name} is on the meta device and has no values: make the model on "
                "the CPU, and load its weights"
            )
        if not tensor.dtype.is_floating_point:
            continue
        if tensor.dtype != torch.float32:
            raise InvalidInputError(
                f"the model's {name} is {tensor.dtype}; quantization starts from float32: "
                "call model.float()"
            )
        masks = name in buffers and (tensor[~torch.isfinite(tensor)] == -math.inf).all()
        if not masks and not torch.isfinite(tensor).all():
            raise InvalidInputError(f"the model's {name} holds NaN or Inf: load a sound checkpoint")


def _own_copy(model: nn.Module) -> nn.Module:
    """A copy on the CPU in eval mode that leaves its input alone."""
    model = plain_copy(model)

    # torch.export refuses a model that writes to its input, as ReLU(inplace=True) in front does.
    def cloned(_: nn.Module, args: Any, kwargs: Any) -> Any:
        return tree_map_only(Tensor, Tensor.clone, (args, kwargs))

    model.register_forward_pre_hook(cloned, with_kwargs=True)
    return model


def _run(model: nn.Module, example: dict[str, Any]) -> tuple[str, ...]:
    """Run the model once; return the names of its outputs."""
    args, kwargs = _calling(example)
    try:
        with torch.no_grad():
            returned = model(*args, **kwargs)
    except IndexError as error:
        if (outside := failed_lookup(model, lambda: model(*args, **kwargs))) is not None:
            raise outside from error
        raise _unfit(model, example, error) from error
    except TypeError:
        return (OUTPUT,)  # something inside takes other arguments: torch.export says what
    except Exception as error:
        raise _unfit(model, example, error) from error
    return tuple(named_outputs(returned))


def _unfit(model: nn.Module, example: dict[str, Any], error: Exception) -> InvalidInputError:
    tensors = flat(example).values()
    shapes = "; ".join(f"[N, {', '.join(map(str, x.shape[1:]))}]" for x in tensors)
    return InvalidInputError(
        f"{type(model).__name__} does not run on input of shape {shapes}: "
        f"{first_line(error)}. Give inputs of the shape that the model was built for."
    )


def _calling(example: dict[str, Any]) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Positional and named arguments: a tensor without a name of its own goes by place."""
    return ((example[INPUT],), {}) if list(example) == [INPUT] else ((), example)


def _export(
    model: nn.Module,
    example: dict[str, Any],
    sizes: dict[str, Any],
    collected: bool,
    axes: Layout,
) -> torch.export.ExportedProgram:
    args, kwargs = _calling(example)
    shapes = {name: x.shape for name, x in flat(example).items()}
    by_place: Any = ((sizes.get(INPUT),),) if collected else (sizes.get(INPUT),)
    dynamic: Any = sizes if kwargs else by_place
    try:
        with quiet(below=logging.ERROR, prints=True), open_lengths(model):
            program = torch.export.export(model, args, kwargs, dynamic_shapes=dynamic)
            check_attention(program)
            return decompose(program)
    except UnsupportedError:
        raise
    except Exception as error:
        if (fixed := fixed_axis(error, axes, shapes)) is not None:
            raise fixed from error
        raise UnsupportedError(
            f"torch.export cannot trace {type(model).__name__}: {first_line(error)}. Remove "
            "data-dependent control flow, or quantize the part of the model that can be traced."
        ) from error


def _flatten(program: torch.export.ExportedProgram, outputs: tuple[str, ...]) -> GraphModule:
    """One plain GraphModule: tensors in, tensors out, no guards, no pytrees, no clones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = program.module(check_guards=False)
    graph = exported.graph
    output = next(n for n in graph.nodes if n.op == "output")
    given = output.args[0] if isinstance(output.args[0], tuple | list) else (output.args[0],)
    results = [result for result in given if isinstance(result, Node)]
    if len(results) != len(outputs):
        raise UnsupportedError(
            f"The model returns {len(outputs)} tensors ({', '.join(outputs)}), of which "
            f"{len(results)} depend on its inputs. Wrap it in a module that returns those."
        )
    output.args = (results[0] if len(results) == 1 else tuple(results),)
    graph.set_codegen(CodeGen())
    parts = [part for part in exported.modules() if isinstance(part, GraphModule)]
    for node in (node for part in parts for node in part.graph.nodes):
        _refuse_random(node)
    for node in list(graph.nodes):
        if op_name(node) in ("clone", "dropout", "alias", "detach") and node.op == "call_function":
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.op == "call_module" and "guard" in str(node.target):
            graph.erase_node(node)
        elif node.op == "placeholder" and node.meta.get("val") is None and not node.users:
            graph.erase_node(node)  # an argument that is None
    graph.eliminate_dead_code()
    module = GraphModule(exported, graph)
    close_lengths(module)
    module.recompile()
    return module


def _refuse_random(node: Node) -> None:
    """Raise UnsupportedError for what computes something else each time."""
    op = op_name(node)
    if op in ("dropout", "native_dropout") and node.args[2] and node.args[1]:
        raise UnsupportedError(
            f"dropout in module {layer_of(node)!r} stays random in eval mode "
            "(F.dropout(..., training=True)): write training=self.training"
        )
    draws = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    trains = op == "rrelu" and argument(node, 3, False)
    if op in _RECURRENT:  # ..., dropout, train, bidirectional, batch_first
        trains = draws = bool(node.args[-4] and node.args[-3])
    if draws and node.users and (trains or op not in _SETTLED):
        layer = layer_of(node)
        where = f"module {layer!r}" if layer != op else "forward itself"
        raise UnsupportedError(
            f"In eval mode {where} draws random numbers (aten.{op}): what it computes can be "
            "neither calibrated nor compared. Draw them only while self.training, or outside, and "
            "give them as an input."
        )


def parameters_of(module: GraphModule) -> dict[str, Tensor]:
    """The tensors the graph reads, by dotted name."""
    return read_by(module, module.graph.nodes)
