"""What training leaves alone: parameters that their owner froze, and quantizers of their layers.

A parameter whose ``requires_grad`` was False when the model was captured is frozen, and one of the
simulated model that its owner froze since. So is the quantizer of a frozen weight, and that of
every activation that nothing trainable computes: the output of a frozen layer, and what only frozen
layers feed. An int32 bias has no scale of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass

from torch import nn
from torch.fx import Node

from qutils.errors import InvalidInputError, known_names
from qutils.graph.nodes import constant
from qutils.graph.parameters import untrained_names
from qutils.quantize.simulate import SimulatedModel


@dataclass(frozen=True)
class Frozen:
    """Names of the parameters that stay, and of the sites whose scale and zero point stay."""

    parameters: frozenset[str]
    sites: frozenset[str]


def frozen_parts(sim: SimulatedModel, names: Collection[str] | None = None) -> Frozen:
    """Return what stays: what the model's owner froze, or, if given, what ``names`` say instead.

    Args:
        names: parameters (``stem.weight``) or modules (``stem``) of the captured network; ``()``
            freezes nothing.

    Raises:
        InvalidInputError: a name that is neither; suggests the closest.
    """
    parameters = _frozen(sim) if names is None else _named(sim, names)
    states = _states(sim, parameters)
    stay = {node.name for node, state in states.items() if state == "frozen"}
    sites = (site.name for site in sim.placement.sites.values() if site.node in stay)
    return Frozen(frozenset(parameters), frozenset(sites))


def require_some_left(sim: SimulatedModel, frozen: Frozen) -> None:
    """Raise InvalidInputError if the network has parameters and all of them are frozen."""
    every = [name for name, _ in sim.captured.module.named_parameters()]
    if every and frozen.parameters.issuperset(every):
        raise InvalidInputError(
            f"Nothing can be trained: all {len(every)} weights and biases are frozen "
            "(requires_grad=False when the model was calibrated). Give frozen=() to train all of "
            "them, or the names of those that stay, or call model.requires_grad_(True) on what "
            "shall learn before q.calibrate."
        )


def warn_of_untrained(sim: SimulatedModel, frozen: Frozen) -> None:
    """Warn of parameters that are not frozen but do not learn, as they are in a frozen tensor."""
    for path, names in untrained_names(sim.captured.module).items():
        if path in frozen.parameters:
            warnings.warn(
                f"{path} is frozen and stays as it is. {', '.join(names)} would train, but cannot: "
                f"it is folded into {path}.",
                stacklevel=3,
            )


def _frozen(sim: SimulatedModel) -> tuple[str, ...]:
    """What was frozen at the capture, or since then in ``sim.graph_module``.

    Where nothing in it requires gradients it says nothing: so do loaded and trained models return.
    """
    now = dict(sim.graph_module.named_parameters())
    names = [name for name, _ in sim.captured.module.named_parameters() if name in now]
    said = any(now[name].requires_grad for name in names)
    since = {name for name in names if said and not now[name].requires_grad}
    return tuple(name for name in names if name in since or name in sim.captured.frozen)


def _named(sim: SimulatedModel, names: Collection[str]) -> tuple[str, ...]:
    every = [name for name, _ in sim.captured.module.named_parameters()]
    if isinstance(names, str):
        raise InvalidInputError(f"frozen is a list of names, got {names!r}. Give [{names!r}].")
    modules = (".".join(n.split(".")[:end]) for n in every for end in range(1, n.count(".") + 1))
    known = dict.fromkeys([*every, *modules])
    chosen = known_names("parameter or module", names, known) if names else ()
    return tuple(n for n in every if any(n == c or n.startswith(f"{c}.") for c in chosen))


def _states(sim: SimulatedModel, parameters: Collection[str]) -> dict[Node, str]:
    """Return ``"frozen"``, ``"trains"``, or ``""`` where no parameter has a part, of every node.

    A layer goes by its own parameters, any other operator by what it reads.
    """
    module = sim.captured.module
    states: dict[Node, str] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            stored = isinstance(constant(module, node), nn.Parameter)
            frozen = str(node.target) in parameters
            states[node] = ("frozen" if frozen else "trains") if stored else ""
            continue
        read = node.all_input_nodes
        own = {states[n] for n in read if n.op == "get_attr"} - {""}
        found = own or {states[n] for n in read} - {""}
        states[node] = "trains" if "trains" in found else "frozen" if found else ""
    return states
