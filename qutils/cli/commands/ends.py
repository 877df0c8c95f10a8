"""Inputs and outputs of a written ONNX file under the names that the float file gave them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from torch import nn

from qutils.cli.commands.models import file_inputs, file_outputs
from qutils.graph.inputs import INPUT
from qutils.quantize.simulate import SimulatedModel


def keep_names(path: Path, model: nn.Module, sim: SimulatedModel) -> None:
    """Call inputs and outputs of ``path`` as the ONNX file called them that ``model`` came from.

    Whoever opened that file by name can then open this one. Nothing happens for other models.
    """
    given, made = file_inputs(model), file_outputs(model)
    signature = sim.captured.signature
    if not given or path.suffix != ".onnx":
        return
    by_argument = {one.argument: one.name for one in given}
    only = next(iter(by_argument.values()))
    names = {name: only if name == INPUT else by_argument[name] for name in signature.names}
    names |= dict(zip(signature.outputs, made, strict=True))
    rename(path, names)


def rename(path: Path, names: Mapping[str, str]) -> None:
    """Rename inputs and outputs of an ONNX file, in place; inner values make room."""
    names = {old: new for old, new in names.items() if old != new}
    if not names:
        return
    model = onnx.load(str(path))
    ends = {value.name for value in (*model.graph.input, *model.graph.output)}
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    taken |= {tensor.name for tensor in model.graph.initializer}
    table = dict(names)
    for new in names.values():
        if new in taken and new not in ends:
            free = f"{new}.inner"
            while free in taken or free in names.values():
                free += "_"
            table[new] = free
    for node in model.graph.node:
        node.input[:] = [table.get(name, name) for name in node.input]
        node.output[:] = [table.get(name, name) for name in node.output]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = table.get(value.name, value.name)
    onnx.save(model, str(path))
