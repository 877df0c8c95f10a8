"""Where quantizers go: a plan of sites, made from the graph and the target's integer kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch.fx import GraphModule, Node

from qutils.errors import UnsupportedError
from qutils.graph.nodes import (
    argument,
    clip_range,
    constant,
    float_inputs,
    is_float,
    layer_of,
    made_by,
    op_name,
)
from qutils.graph.targets import Target

#: So many operators without kernel are named in a message.
SPOKEN = 8
Role = Literal["boundary", "weight", "activation"]


@dataclass(frozen=True)
class Site:
    """One tensor to quantize: the output of ``node``, under a name people recognize.

    ``ceiling`` is the largest value that a fused activation lets through (6 behind a ReLU6). A
    range that ends there expresses the activation; one that reached further could not replace it.
    ``fixed`` is the range that the kernel's result always has, if it has one.
    """

    name: str  # "stage1.conv1", "stage1.conv1.weight", "input"
    role: Role
    node: str
    layer: str
    ceiling: float = math.inf
    fixed: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bias:
    """An int32 bias of scale ``scale(input) * scale(weight)``, read by the layer ``consumer``."""

    consumer: str
    node: str
    input: str  # site names
    weight: str


@dataclass(frozen=True)
class Placement:
    """All sites of a graph.

    ``sites`` maps node names to the site that quantizes their value; pass-through nodes appear in
    ``shared`` with the node whose site they keep. ``float_nodes`` stay in float; those at the very
    end have no site.
    """

    sites: dict[str, Site]
    shared: dict[str, str]
    biases: tuple[Bias, ...]
    float_nodes: tuple[str, ...]


def place(module: GraphModule, target: Target, *, allow_float: bool = False) -> Placement:
    """Plan the quantizers of a captured graph.

    Args:
        allow_float: keep operators without an integer kernel in float instead of refusing them.

    Raises:
        UnsupportedError: operators have no integer kernel on the target; all are named, with the
            modules they came from.
    """
    return _Planner(module, target, allow_float).plan()


class _Planner:
    def __init__(self, module: GraphModule, target: Target, allow_float: bool) -> None:
        self.module, self.target, self.allow_float = module, target, allow_float
        self.sites: dict[str, Site] = {}
        self.shared: dict[str, str] = {}
        self.float_nodes: list[str] = []
        self.refused: list[Node] = []
        self.fused: set[str] = set()
        self.names: set[str] = set()

    def plan(self) -> Placement:
        for node in self.module.graph.nodes:
            if node.op == "placeholder":
                self._add(node, "boundary", "input")
            elif node.op == "call_function" and is_float(node) and node.name not in self.fused:
                self._visit(node)
        if self.refused and not self.allow_float:
            raise self._unsupported()
        self._drop_addends()
        self._drop_unread()
        return Placement(self.sites, self.shared, tuple(self._biases()), tuple(self.float_nodes))

    def _visit(self, node: Node) -> None:
        op = op_name(node)
        weights = self._weight(node)
        if op in self.target.weighted and weights is not None:
            self._add(weights, "weight", f"{layer_of(node)}.weight", axis_of=node)
            self._add(self._fuse(node), "activation", layer_of(node))
        elif op in self.target.pass_through and _keeps_values(node):
            self._share(node)
        elif op in self.target.quantized and _is_integer_form(node):
            for source in float_inputs(node):
                self._constant(source)
            self._add(self._fuse(node), "activation", layer_of(node))
        else:
            if not (op in self.target.float_endings and _is_last(node)):
                self.refused.append(node)
            self.float_nodes.append(node.name)
            self._add(node, "activation", layer_of(node))

    def _unsupported(self) -> UnsupportedError:
        computing = [
            node for node in self.refused if float_inputs(made_by(node))
        ]  # not zeros for an LSTM
        named = list(dict.fromkeys(_spoken(node) for node in computing or self.refused))
        some = ", ".join(named[:SPOKEN]) + (
            f" and {len(named) - SPOKEN} more" * (len(named) > SPOKEN)
        )
        have, them = ("operator {} has", "it") if len(named) == 1 else ("operators {} have", "them")
        mend = (
            f"keep {them} in float with allow_float=True (--allow-float on the command line)"
            if self.target.float_islands
            else f"quantize for onnxruntime or executorch, whose files can keep {them} in float"
        )
        return UnsupportedError(
            f"{have.format(some)} no integer kernel on {self.target.name}: replace {them}, "
            f"or {mend}"
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
        fixed = self.target.fixed_ranges.get(op_name(node))
        self.sites[node.name] = Site(unique, role, node.name, layer, ceiling, fixed)

    def _drop_addends(self) -> None:
        """A layer whose kernel takes in the sum behind it hands its result over unrounded."""
        for node in self.module.graph.nodes:
            if op_name(node) != "add" or node.name in self.float_nodes:
                continue
            addends = float_inputs(node)
            taken = [
                a for a in addends if op_name(a) in self.target.takes_in_sums and len(a.users) == 1
            ]
            if taken and len(addends) == 2 and all(a.op != "get_attr" for a in addends):
                self.sites.pop(taken[0].name, None)

    def _drop_unread(self) -> None:
        """The network's output stays float behind float operators or a kernel with float output."""
        if self.target.quantize_output:
            return
        output = next(n for n in self.module.graph.nodes if n.op == "output")
        last = output.args[0]
        while last.name in self.float_nodes and len(last.users) == 1:
            del self.sites[last.name]
            if len(float_inputs(last)) != 1:
                return
            last = float_inputs(last)[0]
        while last.name in self.shared and len(last.users) == 1:
            last = float_inputs(last)[0]
        only = len(last.users) == 1 and last.name in self.sites
        if only and op_name(last) in self.target.float_output:
            del self.sites[last.name]

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


def _keeps_values(node: Node) -> bool:
    """Whether a pass-through op adds no value of its own: padding with 0 does not, with 5 does."""
    if op_name(node) == "constant_pad_nd":
        return not argument(node, 2, 0)
    if op_name(node) == "pad" and argument(node, 2, "constant") == "constant":
        return not argument(node, 3)
    return True


def _is_integer_form(node: Node) -> bool:
    """Whether an op of the target's is called in the form that its integer kernel computes."""
    op = op_name(node)
    if op in ("add", "mul"):  # of two tensors; a plain number or alpha is another computation
        operands = 1 if node.args[0] is node.args[1] else 2
        return len(float_inputs(node)) == operands and bool(node.kwargs.get("alpha", 1) == 1)
    if op == "adaptive_avg_pool2d":
        return set(argument(node, 1)) == {1}
    if op.startswith("avg_pool"):  # kernels divide by the size of the window, by nothing else
        return argument(node, 6) is None
    return True


def _spoken(node: Node) -> str:
    """An operator for a message: ``aten.gelu in module 'act'``."""
    maker = made_by(node)
    op = "batch_norm" if "batch_norm" in op_name(maker) else op_name(maker)
    return f"aten.{op} in module {layer_of(maker)!r}"
