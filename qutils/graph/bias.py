"""A bias for every layer with weights, its own: what corrections of biases write to."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch.fx import GraphModule, Node

from qutils.graph.capture import Captured
from qutils.graph.nodes import argument, attribute, constant, op_name
from qutils.graph.parameters import bias_path, new_parameter, trains
from qutils.graph.targets import Target


def with_own_biases(captured: Captured, target: Target) -> Captured:
    """The same network with a bias of its own for each layer of ``target.weighted``.

    A layer without one gets zeros, frozen if its weight is; a layer that reads another's, as a
    module does that is called twice, gets a copy. What the network computes stays. Layers whose
    weight or bias is itself computed are left as they are. If there is nothing to do, ``captured``
    itself comes back.
    """
    lacking = [n.name for n in captured.module.graph.nodes if _lacks(captured.module, n, target)]
    if not lacking:
        return captured
    module = copy.deepcopy(captured.module)
    for node in list(module.graph.nodes):
        if node.name in lacking and _lacks(module, node, target):
            _give(module, node)
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()
    return replace(captured, module=module, own_biases=True)


def _lacks(module: GraphModule, node: Node, target: Target) -> bool:
    if op_name(node) not in target.weighted or constant(module, argument(node, 1)) is None:
        return False
    bias = argument(node, 2)
    if bias is None:
        return True
    if constant(module, bias) is None:
        return False
    reads = [n for n in module.graph.nodes if n.op == "get_attr" and n.target == bias.target]
    return {user for read in reads for user in read.users} != {node}


def _give(module: GraphModule, node: Node) -> None:
    weight: Any = node.args[1]
    bias: Any = argument(node, 2)
    if bias is None:
        path = bias_path(str(weight.target))
        like = attribute(module, str(weight.target))
        value = torch.zeros(like.shape[0])
    else:
        path = str(bias.target)
        like = attribute(module, path)
        value = like.detach().clone()
    with module.graph.inserting_before(node):
        own = new_parameter(module, path, value, node, trainable=trains(like))
    node.args = (*node.args[:2], own, *node.args[3:])
