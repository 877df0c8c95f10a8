"""A simulated model in the form that trains fastest, with the same outputs and gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.fx import Graph, Node

from qutils.graph.ops import clip_range
from qutils.quantize.simulate import FakeQuantize, SimulatedModel


@contextmanager
def trainable(sim: SimulatedModel) -> Iterator[SimulatedModel]:
    """Change ``sim`` for the time of a training; on leaving, its graph and layout are as before.

    - Images and filters are stored in the order ``channels_last``, which convolutions of the CPU
      read fastest.
    - A ReLU or ReLU6 is left out where the quantizer after it clamps to the same range: its zero
      point is ``qmin``, so that integers begin at the real number 0, and its range ends at or below
      the ReLU6's 6. Outputs, and gradients to weights and scales, stay the same.
    """
    module, whole = sim.graph_module, sim.graph_module.graph
    module.graph = _without_clamps(sim)
    sim.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        yield sim
    finally:
        module.graph = whole
        sim.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _without_clamps(sim: SimulatedModel) -> Graph:
    """A copy of the graph in which quantizers read what the activation before them reads."""
    made: dict[Node, Node] = {}
    copy = Graph()
    result = copy.graph_copy(sim.graph_module.graph, made)
    copy.output(result)
    for node in sim.graph_module.graph.nodes:
        if node.op != "call_module":
            continue
        quantizer = sim.graph_module.get_submodule(str(node.target))
        source = node.args[0]
        if isinstance(quantizer, FakeQuantize) and _is_subsumed(source, quantizer):
            made[node].args = (made[source.args[0]],)
            copy.erase_node(made[source])
    return copy


def _is_subsumed(source: Node, quantizer: FakeQuantize) -> bool:
    """Whether the quantizer clamps wherever ``source``, read by nothing else, clamps."""
    if len(source.users) > 1:
        return False
    low, high = clip_range(source)
    begins = quantizer.zero_point.detach().max() <= quantizer.scheme.qmin
    return low == 0 and bool(begins) and quantizer.site.ceiling <= high
