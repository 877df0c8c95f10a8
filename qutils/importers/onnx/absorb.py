"""A stored vector that is added to the result of a linear layer becomes the layer's bias."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from qutils.graph.nodes import attribute
from qutils.importers.onnx.call import Function


def absorb_biases(module: GraphModule) -> None:
    """Turn ``linear(x) + b`` into a layer with bias, in place."""
    for node in list(module.graph.nodes):
        if node.op == "call_module":
            _absorb(module, node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


def _absorb(module: GraphModule, node: Node) -> None:
    added = module.get_submodule(str(node.target))
    if not isinstance(added, Function) or added.function is not torch.add:
        return
    operands = [n for n in node.args if isinstance(n, Node)]
    layers = [n for n in operands if n.op == "call_module" and len(n.users) == 1]
    vector = next((v for n in operands if (v := _stored(module, n)) is not None), None)
    if len(operands) != 2 or len(layers) != 1 or vector is None:
        return
    layer = module.get_submodule(str(layers[0].target))
    if not isinstance(layer, nn.Linear) or "bias" in dict(layer.named_parameters()):
        return
    last = vector.shape[-1] if vector.ndim else 1
    if not vector.numel() == last == layer.out_features:
        return
    layer.bias = nn.Parameter(vector.detach().clone().reshape(-1))
    node.replace_all_uses_with(layers[0])
    module.graph.erase_node(node)


def _stored(module: GraphModule, node: Node) -> Tensor | None:
    if node.op != "get_attr":
        return None
    value: Tensor = attribute(module, str(node.target))
    return value
