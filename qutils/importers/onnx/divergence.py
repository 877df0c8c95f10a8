"""The first node of an imported network whose result is not ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from onnx import ModelProto, ValueInfoProto
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from qutils.errors import QutilsError
from qutils.importers.onnx.reference import Outputs, Reference

#: Key of ``GraphModule.meta``: the model that the module was made from, and the names of the
#: module's nodes by value of that model.
SOURCE = "onnx_source"


class _Recorder(Interpreter):
    """Keeps the value of every node."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.seen: dict[str, Any] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        self.seen[n.name] = result
        return result


def first_diverging(
    module: GraphModule,
    path: Path,
    original: ModelProto,
    inputs: Mapping[str, Tensor],
    allowed: float,
    apart: Callable[[Outputs, Outputs], float],
) -> str:
    """Return a sentence that names the first node beyond ``allowed``; empty if none is found."""
    source, nodes = module.meta[SOURCE]
    batch = _declared_batch(source)
    whole = batch is None or not all(x.ndim and len(x) >= batch for x in inputs.values())
    piece = dict(inputs) if whole else {name: x[:batch] for name, x in inputs.items()}
    recorder = _Recorder(module)
    with torch.no_grad():
        recorder.run(*piece.values())
    tapped = ModelProto()
    tapped.CopyFrom(source)
    kept = {v.name for v in source.graph.output}
    made = [
        (name, node)
        for node in source.graph.node
        for name in node.output
        if name and isinstance(recorder.seen.get(nodes.get(name, "")), Tensor)
    ]
    tapped.graph.output.extend(ValueInfoProto(name=n) for n, _ in made if n not in kept)
    try:
        reference = Reference(path, tapped, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
        values = dict(zip(reference.outputs, reference.run(piece), strict=True))
    except QutilsError:
        return ""
    for name, node in made:
        ours, theirs = recorder.seen[nodes[name]].numpy(), np.asarray(values[name])
        if not apart(ours, theirs) <= allowed:
            return f"The first to differ is operator {node.op_type} (node {node.name or name}). "
    return ""


def _declared_batch(model: ModelProto) -> int | None:
    axes = model.graph.input[0].type.tensor_type.shape.dim
    return int(axes[0].dim_value) if axes and axes[0].HasField("dim_value") else None
