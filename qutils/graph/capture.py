"""From any ``nn.Module`` to a flat, functional ATen graph that keeps parameter names."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen
from torch.nn.parameter import is_lazy

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph.constants import fold_constants
from qutils.graph.fold import fold_batch_norm
from qutils.graph.identity import Identity, identity_of
from qutils.graph.nodes import layer_of, op_name, read_by
from qutils.graph.norm import replace_batch_norm
from qutils.graph.parameters import frozen_names
from qutils.graph.quiet import quiet
from qutils.graph.rewrite import rewrite
from qutils.graph.wrappers import collects_inputs, first_line, plain_copy, refuse_opaque


@dataclass(frozen=True)
class Captured:
    """A float graph, BatchNorm folded, with one input of shape ``[N, *input_shape]``.

    ``own_biases`` where ``with_own_biases`` gave layers a bias that the model has not. ``identity``
    says which network it is.
    """

    module: GraphModule
    input_shape: tuple[int, ...]
    identity: Identity
    own_biases: bool = False

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the parameters that the model's owner froze: training leaves them alone."""
        return frozen_names(self.module)

    def freeze(self, names: Collection[str]) -> None:
        """Freeze the parameters of these names, and no others."""
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(name not in names)

    def check(self, x: Tensor) -> None:
        """Raise InvalidInputError unless ``x`` is ``[N, *input_shape]`` floats."""
        if not isinstance(x, Tensor):
            raise InvalidInputError(
                f"the model takes a torch tensor, got {type(x).__name__}: torch.from_numpy(x)"
            )
        if tuple(x.shape[1:]) != self.input_shape:
            wanted = ", ".join(map(str, ["N", *self.input_shape]))
            raise InvalidInputError(
                f"the model takes input of shape [{wanted}], got {list(x.shape)}"
            )
        _check_dtype(x)


def capture(model: nn.Module, example: Tensor) -> Captured:
    """Trace ``model`` in eval mode with a dynamic batch and fold its BatchNorm.

    The caller's model is copied, never changed; wrappers (``DataParallel``, ``torch.compile``) are
    left out of the copy. What depends on parameters alone is computed once, as the weights of
    ``weight_norm`` are. ``example`` is ``[N, ...]``, any N.

    Raises:
        InvalidInputError: no module; a parameter or buffer holds NaN or Inf or is not float32 (it
            is named); the model does not run on the example.
        UnsupportedError: ``torch.export`` cannot trace the model, or it does not map one tensor to
            one tensor; the reason is given.
    Source: ``torch.export``; folding as in Nagel et al. 2021, section 3.2.
    """
    if not isinstance(model, nn.Module):
        raise InvalidInputError(
            f"the model is a {type(model).__name__}: give an nn.Module that is made already"
        )
    if example.ndim < 2 or len(example) == 0:
        raise InvalidInputError(
            f"an example input needs a batch and more axes, got {list(example.shape)}"
        )
    _check_dtype(example)
    refuse_opaque(model)
    check_tensors(model)
    model = _own_copy(model)
    collected = collects_inputs(model)
    _check_runs(model, _two(example))
    module = _flatten(_export(model, _two(example), collected))
    fold_constants(module)
    identity = identity_of(module)
    fold_batch_norm(module)
    replace_batch_norm(module)
    rewrite(module)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return Captured(module, tuple(example.shape[1:]), identity)


def _check_dtype(x: Tensor) -> None:
    if not x.dtype.is_floating_point:
        raise InvalidInputError(
            f"the model takes float input, got {x.dtype}: normalize the pictures"
        )
    if x.dtype != torch.float32:
        raise InvalidInputError(f"the model takes float32 input, got {x.dtype}: call .float()")


def check_tensors(model: nn.Module) -> None:
    """Raise InvalidInputError for a parameter or buffer that is not finite float32."""
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
        if not torch.isfinite(tensor).all():
            raise InvalidInputError(f"the model's {name} holds NaN or Inf: load a sound checkpoint")


def _own_copy(model: nn.Module) -> nn.Module:
    """A copy on the CPU in eval mode that leaves its input alone."""
    model = plain_copy(model)
    # torch.export refuses a model that writes to its input, as ReLU(inplace=True) in front does.
    model.register_forward_pre_hook(lambda _, args: tuple(x.clone() for x in args))
    return model


def _check_runs(model: nn.Module, example: Tensor) -> None:
    try:
        with torch.no_grad():
            model(example)
    except TypeError:
        return  # something inside takes other arguments: torch.export says what
    except Exception as error:
        raise InvalidInputError(
            f"{type(model).__name__} does not run on input of shape "
            f"[N, {', '.join(map(str, example.shape[1:]))}]: {first_line(error)}. Give inputs of "
            "the shape that the model was built for."
        ) from error


def _two(example: Tensor) -> Tensor:
    """Two samples: a batch of one would be taken for a constant."""
    return example[[0, -1]].detach().cpu()


def _export(model: nn.Module, example: Tensor, collected: bool) -> torch.export.ExportedProgram:
    batch: Any = {0: torch.export.Dim.DYNAMIC}
    dynamic = ((batch,),) if collected else (batch,)
    try:
        with quiet(below=logging.ERROR, prints=True):
            program = torch.export.export(model, (example,), dynamic_shapes=dynamic)
            functional: torch.export.ExportedProgram = program.run_decompositions({})
            return functional  # no in-place ops
    except Exception as error:
        raise UnsupportedError(
            f"torch.export cannot trace {type(model).__name__}: {first_line(error)}. Remove "
            "data-dependent control flow, or quantize the part of the model that can be traced."
        ) from error


def _flatten(program: torch.export.ExportedProgram) -> GraphModule:
    """One plain GraphModule: tensor in, tensor out, no guards, no pytrees, no clones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = program.module(check_guards=False)
    graph = exported.graph
    inputs = [n for n in graph.nodes if n.op == "placeholder"]
    output = next(n for n in graph.nodes if n.op == "output")
    results = output.args[0] if isinstance(output.args[0], tuple | list) else (output.args[0],)
    if len(inputs) != 1 or len(results) != 1 or not isinstance(results[0], Node):
        raise UnsupportedError(
            f"models map one tensor to one tensor here; this one has {len(inputs)} inputs and "
            f"{len(results)} outputs: wrap it in a module that does"
        )
    output.args = (results[0],)
    graph.set_codegen(CodeGen())
    for node in list(graph.nodes):
        if op_name(node) in ("dropout", "native_dropout") and node.args[2] and node.args[1]:
            raise UnsupportedError(
                f"dropout in module {layer_of(node)!r} stays random in eval mode "
                "(F.dropout(..., training=True)): write training=self.training"
            )
        if op_name(node) in ("clone", "dropout", "alias", "detach") and node.op == "call_function":
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.op == "call_module" and "guard" in str(node.target):
            graph.erase_node(node)
    graph.eliminate_dead_code()
    return GraphModule(exported, graph)


def parameters_of(module: GraphModule) -> dict[str, Tensor]:
    """The tensors the graph reads, by dotted name."""
    return read_by(module, module.graph.nodes)
