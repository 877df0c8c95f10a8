"""Small networks, each with one thing that users do; shared by the tests of graph to export."""

from __future__ import annotations

from functools import cache

from torch.fx import GraphModule

from qutils import zoo
from qutils.graph import capture
from qutils.quantize.calibration import Observation, observe
from tests.unit.graph.networks.base import Net, Network, conv, linear, random_batch_norm
from tests.unit.graph.networks.everyday import EVERYDAY
from tests.unit.graph.networks.flows import FLOWS
from tests.unit.graph.networks.joins import JOINS
from tests.unit.graph.networks.layers import LAYERS, ten_lines
from tests.unit.graph.networks.refused import REFUSED
from tests.unit.graph.networks.weights import WEIGHTS, Standardized

__all__ = [
    "EVERYDAY",
    "FLOWS",
    "JOINS",
    "LAYERS",
    "NETWORKS",
    "REFUSED",
    "WEIGHTS",
    "ZOO",
    "Net",
    "Network",
    "Standardized",
    "conv",
    "graph_of",
    "linear",
    "observed",
    "random_batch_norm",
    "ten_lines",
]

#: Everything here is captured, simulated and (unless it says so elsewhere) exported in integers.
NETWORKS: dict[str, Network] = LAYERS | FLOWS | EVERYDAY | JOINS | WEIGHTS

#: The models of the zoo, untrained.
ZOO = {
    name: Network(lambda name=name: zoo.load(name, pretrained=False), zoo.entry(name).input_shape)
    for name in zoo.MODELS
}


@cache
def graph_of(name: str) -> GraphModule:
    """The captured graph of any network above; not to be changed."""
    if name in REFUSED:
        network = REFUSED[name][0]
        return capture(network.make(), network.inputs(2)).module
    return observed(name).captured.module


@cache
def observed(name: str, target: str = "onnxruntime") -> Observation:
    """The observation of a network above; ask for ``simulate`` to get a model of your own."""
    network = {**NETWORKS, **ZOO}[name]
    return observe(network.make(), network.inputs(), target)
