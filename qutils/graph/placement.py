"""Where quantizers go: a plan of sites, made from the graph and the target's integer kernels."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from torch.fx import GraphModule, Node

from qutils.errors import UnsupportedError, known_names
from qutils.graph.demote import beside_float
from qutils.graph.moves import only_moves
from qutils.graph.nodes import (
    argument,
    constant,
    float_inputs,
    is_float,
    layer_of,
    made_by,
    op_name,
)
from qutils.graph.ops import OPS, clip_range
from qutils.graph.sites import Bias, FloatReason, Placement, Role, Site
from qutils.graph.targets import Target
from qutils.graph.unrounded import Unrounded

#: So many operators without kernel are named in a message.
SPOKEN = 8


def place(
    module: GraphModule,
    target: Target,
    *,
    strict: bool = False,
    keep_float: Collection[str] = (),
) -> Placement:
    """Plan the quantizers of a captured graph.

    Operators without an integer kernel on the target stay in float, and so do those that only work
    on float values (``graph.demote``): ``Placement.in_float`` names them.

    Args:
        strict: refuse operators without an integer kernel.
        keep_float: modules, ``head.decode`` say, whose layers and operators stay in float although
            there are kernels for them.

    Raises:
        InvalidInputError: no operator comes from a module of ``keep_float``; suggests the closest.
        UnsupportedError: ``strict``, and operators have no integer kernel on the target; they are
            named, with the modules they came from.
    """
    kept = _known_modules(module, keep_float)
    return _Planner(module, target, strict, kept).plan()


#: What torch calls modules of operators that it made itself.
_OF_TORCH = "_empty_nn_module_stack"


def _known_modules(module: GraphModule, names: Collection[str]) -> tuple[str, ...]:
    """The names, if each is a module that operators of the graph came from."""
    paths = [layer_of(node).split(".") for node in module.graph.nodes if node.op == "call_function"]
    names_of = (".".join(path[:n]) for path in paths for n in range(1, len(path) + 1))
    known = dict.fromkeys(name for name in names_of if not name.startswith(_OF_TORCH))
    return known_names("module", names, known) if names else ()


class _Planner:
    def __init__(
        self, module: GraphModule, target: Target, strict: bool, kept: tuple[str, ...]
    ) -> None:
        self.module, self.target, self.strict, self.kept = module, target, strict, kept
        self.sites: dict[str, Site] = {}
        self.shared: dict[str, str] = {}
        self.in_float: dict[str, FloatReason] = {}
        self.light: dict[str, str] = {}  # kernels without weights: operator -> last node
        self.refused: list[Node] = []
        self.fused: set[str] = set()
        self.names: set[str] = set()

    def plan(self) -> Placement:
        for node in self.module.graph.nodes:
            if node.op == "placeholder" and is_float(node):
                self._add(node, "boundary", self._input_name(node))
            elif node.op == "call_function" and is_float(node) and node.name not in self.fused:
                self._visit(node)
        self._demote()
        self._excuse_moves()
        if self.refused and self.strict:
            raise self._unsupported()
        Unrounded(
            self.module, self.target, self.sites, self.shared, self.in_float, self.fused
        ).drop()
        return Placement(self.sites, self.shared, tuple(self._biases()), self._ordered(), self.kept)

    def _input_name(self, node: Node) -> str:
        """``input``, or the name of one of several."""
        inputs = [n for n in self.module.graph.nodes if n.op == "placeholder"]
        return "input" if len(inputs) == 1 else str(node.target)

    def _visit(self, node: Node) -> None:
        op = op_name(node)
        weights = self._weight(node)
        moves = op in self.target.pass_through and op not in self.target.fused
        if self._is_kept(node) and not moves:
            self.in_float[node.name] = "kept"
            self._add(node, "activation", layer_of(node))
        elif op in self.target.weighted and weights is not None:
            self._add(weights, "weight", f"{layer_of(node)}.weight", axis_of=node)
            self._add(self._fuse(node), "activation", layer_of(node))
        elif op in self.target.quantized and _is_masked(node):
            self.in_float[node.name] = "masked"
            self._add(node, "activation", layer_of(node))
        elif op in self.target.fixed_ranges and self._is_weighing(node):
            self.in_float[node.name] = "weighs"
            self._add(node, "activation", layer_of(node))
        elif op in self.target.products:
            for source in float_inputs(node):
                self._constant(source)
            self._add(self._fuse(node), "activation", layer_of(node))
        elif self._passes_on(node):
            self._share(node)
        elif op in self.target.quantized and OPS[op].holds(node):
            for source in float_inputs(node):
                self._constant(source)
            last = self._fuse(node)
            self.light[node.name] = last.name
            self._add(last, "activation", layer_of(node))
        else:
            ending = op in self.target.float_endings and _is_last(node)
            if not ending:
                self.refused.append(node)
            self.in_float[node.name] = "ending" if ending else "no kernel"
            self._add(node, "activation", layer_of(node))

    def _is_weighing(self, node: Node) -> bool:
        """Return True for a softmax whose result a product reads: the weights of attention.

        Its kernel has one scale for all, 1/256, in which the weights of many positions are few
        steps; rounded to a scale of their own they keep 8 bits.
        """
        if op_name(node) != "softmax":
            return False
        users = list(node.users)
        while users:
            user = users.pop()
            if op_name(user) in self.target.products:
                return True
            if op_name(user) in self.target.pass_through:
                users += user.users
        return False

    def _demote(self) -> None:
        """Leave light operators, and activations fused into them, in float beside float."""
        for name in beside_float(self.module, self.light, self.shared, self.in_float):
            node = next(n for n in self.module.graph.nodes if n.name == name)
            self.in_float[name] = "beside float"
            last = self.light[name]
            self.sites[last] = replace(self.sites[last], fixed=None)  # no kernel asks for it
            while node.name != self.light[name]:
                node = next(iter(node.users))
                self.in_float[node.name] = "beside float"

    def _excuse_moves(self) -> None:
        """Name the cause of an operator that only moves what float operators compute.

        A kernel would not bring it into integers, so that ``strict`` does not refuse it.
        """
        for node in self.refused:
            sources = [self.shared.get(n.name, n.name) for n in float_inputs(made_by(node))]
            moved = only_moves(made_by(node)) and sources
            if moved and all(source in self.in_float for source in sources):
                self.in_float[node.name] = "beside float"
        self.refused = [n for n in self.refused if self.in_float[n.name] == "no kernel"]

    def _ordered(self) -> dict[str, FloatReason]:
        """The nodes in float, in order of execution."""
        names = (node.name for node in self.module.graph.nodes)
        return {name: self.in_float[name] for name in names if name in self.in_float}

    def _is_kept(self, node: Node) -> bool:
        path = layer_of(node)
        return any(path == name or path.startswith(f"{name}.") for name in self.kept)

    def _unsupported(self) -> UnsupportedError:
        computing = [
            node for node in self.refused if float_inputs(made_by(node))
        ]  # not zeros for an LSTM
        named = list(dict.fromkeys(_spoken(node) for node in computing or self.refused))
        some = ", ".join(named[:SPOKEN]) + (
            f" and {len(named) - SPOKEN} more" * (len(named) > SPOKEN)
        )
        have, them = ("operator {} has", "it") if len(named) == 1 else ("operators {} have", "them")
        return UnsupportedError(
            f"{have.format(some)} no integer kernel on {self.target.name}. Replace {them}, or "
            f"leave out strict=True (--strict on the command line) to keep {them} in float."
        )

    def _weight(self, node: Node) -> Node | None:
        weight = argument(node, 1)
        return weight if constant(self.module, weight) is not None else None

    def _constant(self, node: Node) -> None:
        """A parameter that is added or multiplied is quantized like an activation."""
        if node.op == "get_attr" and node.name not in self.sites:
            self._add(node, "activation", str(node.target))

    def _share(self, node: Node) -> None:
        """A pass-through op keeps the scale of its input, unless the input is not quantized."""
        source = float_inputs(node)[0]
        self._constant(source)
        origin = self.shared.get(source.name, source.name)
        self.shared[node.name] = origin

    def _passes_on(self, node: Node) -> bool:
        """Whether the node's result has the scale of what it reads."""
        if op_name(node) == "cat":
            return self._of_one_grid(node)
        op = op_name(node)
        return op in self.target.pass_through and OPS[op].holds(node)

    def _of_one_grid(self, cat: Node) -> bool:
        """Whether all parts have the scale of one tensor: what pooling makes of it, say."""
        origins = {self.shared.get(part.name, part.name) for part in float_inputs(cat)}
        return origins <= self.sites.keys() and len(origins) == 1

    def _fuse(self, node: Node) -> Node:
        """The last node of ``node`` and the activations that the kernel absorbs."""
        while len(node.users) == 1:
            user = next(iter(node.users))
            if op_name(user) not in self.target.fused or clip_range(user)[0] != 0:
                break
            self.fused.add(user.name)
            node = user
        return node

    def _add(self, node: Node, role: Role, name: str, axis_of: Node | None = None) -> None:
        if node.name in self.sites:  # a weight that two layers share
            return
        unique, count = name, 2
        while unique in self.names:
            unique, count = f"{name}_{count}", count + 1
        self.names.add(unique)
        ceiling = clip_range(node)[1] if node.name in self.fused else math.inf
        layer = layer_of(axis_of or node)
        in_float = node.name in self.in_float
        fixed = None if in_float else self.target.fixed_ranges.get(op_name(node))
        self.sites[node.name] = Site(unique, role, node.name, layer, ceiling, fixed)

    def _biases(self) -> list[Bias]:
        found: list[Bias] = []
        if self.target.bias == "float":
            return found
        for node in self.module.graph.nodes:
            bias = argument(node, 2) if op_name(node) in self.target.weighted else None
            if not isinstance(bias, Node) or constant(self.module, bias) is None:
                continue
            source = node.all_input_nodes[0].name
            site = self.sites.get(self.shared.get(source, source))
            weight = self.sites.get(node.all_input_nodes[1].name)
            if site is not None and weight is not None:
                found.append(Bias(node.name, bias.name, site.name, weight.name))
        return found


def _is_last(node: Node) -> bool:
    """Whether the node's value is the network's output and nothing else."""
    return all(user.op == "output" for user in node.users)


def _is_masked(node: Node) -> bool:
    """Whether a node adds to the scores of a softmax, or is the softmax of such a sum.

    A mask excludes positions by a very negative number, in whose range 8 bits resolve no score.
    """
    if op_name(node) == "add":
        return bool(node.users) and all(op_name(user) == "softmax" for user in node.users)
    return op_name(node) == "softmax" and _is_masked(node.args[0])  # type: ignore[arg-type]


def _spoken(node: Node) -> str:
    """An operator for a message: ``aten.gelu in module 'act'``."""
    maker = made_by(node)
    op = "batch_norm" if "batch_norm" in op_name(maker) else op_name(maker)
    return f"aten.{op} in module {layer_of(maker)!r}"
