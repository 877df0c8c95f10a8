"""Reference graph -> ExecuTorch ``.pte``, its integer layers lowered to XNNPACK.

XNNPACK's partitioner takes signed int8 activations, int8 weights stored before a dequantization
that each reader has for itself, and float biases, which it rounds to int32 of scale
``input * weight``. What it cannot do (cut, repeat, upsample) moves integers between its parts.

The file computes one sample at a time, as on a phone: an open batch makes XNNPACK refuse shapes
that it could otherwise work with. Its runtime runs batches of any size by the sample.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch.fx import GraphModule, Node

from qutils.backends.executorch import BACKEND
from qutils.backends.shared.forms import (
    dense,
    flatten_volumes,
    float_biases,
    move_integers,
    one_reader_each,
    signed,
    spell_out_shapes,
    untranslated,
)
from qutils.errors import not_installed
from qutils.files import atomic_path
from qutils.graph.nodes import argument, op_name
from qutils.graph.ops import clip_range
from qutils.graph.quiet import quiet
from qutils.graph.signature import Signature
from qutils.quantize.convert import convert
from qutils.quantize.simulate import SimulatedModel

#: Operators that pass integers on outside of XNNPACK, which would compute them in float.
_MOVES = frozenset(
    {"slice", "expand", "squeeze", "unsqueeze", "pixel_shuffle", "upsample_nearest2d"}
    | {"max_pool1d", "pad", "constant_pad_nd"}
)
_CONVOLUTIONS = ("conv1d", "conv2d")
#: Method of a program that returns the names of its inputs and outputs.
NAMES = "names"


def export_executorch(sim: SimulatedModel, path: Path) -> Path:
    """Write a simulated model as a ``.pte`` file that ExecuTorch runs in integers with XNNPACK.

    Raises:
        UnsupportedError: the target has no kernel for the recipe, or an operator no translation.
        MissingPackageError: ExecuTorch is not installed.
        DataError: the folder cannot be written.
    Source: ExecuTorch, ``to_edge_transform_and_lower`` with ``XnnpackPartitioner``.
    """
    sim.target.require_kernels(sim.recipe)
    signature = sim.captured.signature
    signature.require_batches()
    module = convert(sim)
    prepare(module)
    program = lower(module, signature)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(program)
    return Path(path)


def prepare(module: GraphModule) -> None:
    """Bring a reference graph into the form that the partitioner looks for, in place."""
    flatten_volumes(module)
    signed(module)
    float_biases(module)
    dense(module)
    spell_out_shapes(module)
    _relus(module)
    one_reader_each(module)
    _pad_within(module)
    move_integers(module, lambda node: op_name(node) in _MOVES)
    _match_parts(module)
    one_reader_each(module)
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()


def lower(module: GraphModule, signature: Signature) -> bytes:
    """The program of a prepared graph, for one sample of what ``signature`` says.

    A program has no names of its own: those of several inputs or outputs are stored beside it, as
    the bytes that the method ``NAMES`` returns.

    Raises:
        UnsupportedError: an operator has no translation.
        MissingPackageError: ExecuTorch is not installed.
    """
    with quiet(below=logging.ERROR, prints=True):
        try:
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower
        except ImportError as error:
            raise not_installed(BACKEND.package, BACKEND.install_extra, error) from error
        try:
            example = tuple(spec.example(1, {}) for spec in signature.inputs)
            exported = torch.export.export(module, example)
            edge = to_edge_transform_and_lower(
                exported, partitioner=[XnnpackPartitioner()], constant_methods=_names(signature)
            )
            return bytes(edge.to_executorch().buffer)
        except Exception as error:
            raise untranslated("ExecuTorch", error) from error


def _names(signature: Signature) -> dict[str, Any] | None:
    """``ids,mask;states,score`` as bytes; None for a network of one input and one output."""
    if len(signature.inputs) == len(signature.outputs) == 1:
        return None
    text = f"{','.join(signature.names)};{','.join(signature.outputs)}"
    return {NAMES: torch.tensor(list(text.encode()), dtype=torch.uint8)}


def _relus(module: GraphModule) -> None:
    """A fused activation that the output range does not express yet becomes a ReLU.

    Its ceiling is where the range ends, at the most: ``clamp(x, 0, 6)`` is ``relu(x)`` there.
    """
    for node in list(module.graph.nodes):
        low, high = clip_range(node)
        users = list(node.users)
        if low != 0 or math.isinf(high) or len(users) != 1:
            continue
        after: Any = users[0]
        if op_name(after) != "quantize_per_tensor":
            continue
        scale, zero_point, _, qmax = after.args[1:5]
        if scale * (qmax - zero_point) <= high * (1 + 1e-6):
            node.target = torch.ops.aten.relu.default
            node.args, node.kwargs = (node.args[0],), {}


def _pad_within(module: GraphModule) -> None:
    """``pad -> quantize -> dequantize -> conv`` becomes ``pad -> conv``: XNNPACK pads integers.

    The partitioner looks for a pad that is this convolution's alone.
    """
    for node in list(module.graph.nodes):
        again: Any = node.args[0] if op_name(node) in _CONVOLUTIONS else None
        if again is None or op_name(again) != "dequantize_per_tensor":
            continue
        pad = again.args[0].args[0] if op_name(again.args[0]) == "quantize_per_tensor" else None
        if not isinstance(pad, Node) or not _pads_space(pad):
            continue
        before: Any = pad.args[0]
        if op_name(before) != "dequantize_per_tensor" or before.args[1:] != again.args[1:]:
            continue
        with module.graph.inserting_before(node):
            own = module.graph.call_function(before.target, before.args)
            own.meta = dict(before.meta)
            args = (own, pad.args[1], 0.0)
            padded = module.graph.call_function(torch.ops.aten.constant_pad_nd.default, args)
            padded.meta = dict(pad.meta)
        node.replace_input_with(again, padded)
    module.graph.eliminate_dead_code()


def _pads_space(node: Node) -> bool:
    """Whether a node pads with zeros, on the axes after ``[N, C]`` only, and crops nothing."""
    if op_name(node) == "pad" and argument(node, 2, "constant") != "constant":
        return False
    if op_name(node) not in ("pad", "constant_pad_nd"):
        return False
    amounts = argument(node, 1)
    space = 2 * (node.meta["val"].ndim - 2)
    return min(amounts) >= 0 and not any(amounts[space:])


def _match_parts(module: GraphModule) -> None:
    """Parts of a ``cat`` on another scale than its result are put onto that scale first."""
    for node in list(module.graph.nodes):
        after = list(node.users)
        if op_name(node) != "cat" or any(op_name(n) != "quantize_per_tensor" for n in after):
            continue
        grid = after[0].args[1:]
        for part in node.all_input_nodes:
            if part.args[1:] == grid:
                continue
            ops = torch.ops.quantized_decomposed
            with module.graph.inserting_before(node):
                q = module.graph.call_function(ops.quantize_per_tensor.default, (part, *grid))
                own = module.graph.call_function(ops.dequantize_per_tensor.default, (q, *grid))
            own.meta = dict(part.meta)
            node.replace_input_with(part, own)
