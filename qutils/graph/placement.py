"""Where quantizers go: a plan of sites, made from the graph and the target's integer kernels."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from torch.fx import GraphModule, Node

from qutils.errors import UnsupportedError, known_names
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
    ``shared`` with the node whose site they keep. ``float_nodes`` stay in float; those that no
    integer kernel reads have no site. ``keep_float`` names the modules that were asked to.
    """

    sites: dict[str, Site]
    shared: dict[str, str]
    biases: tuple[Bias, ...]
    float_nodes: tuple[str, ...]
    keep_float: tuple[str, ...] = ()


def place(
    module: GraphModule,
    target: Target,
    *,
    allow_float: bool = False,
    keep_float: Collection[str] = (),
) -> Placement:
    """Plan the quantizers of a captured graph.

    Args:
        allow_float: keep operators without an integer kernel in float instead of refusing them.
        keep_float: modules, ``head.decode`` say, whose layers and operators stay in float although
            there are kernels for them.

    Raises:
        InvalidInputError: no operator comes from a module of ``keep_float``; suggests the closest.
        UnsupportedError: operators have no integer kernel on the target; all are named, with the
            modules they came from.
    """
    kept = _known_modules(module, keep_float)
    return _Planner(module, target, allow_float, kept).plan()


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
        self, module: GraphModule, target: Target, allow_float: bool, kept: tuple[str, ...]
    ) -> None:
        self.module, self.target, self.allow_float, self.kept = module, target, allow_float, kept
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
        self._drop_gated()
        self._drop_addends()
        self._drop_in_front_of_cat()
        self._drop_unread()
        self._drop_between_floats()
        biases = tuple(self._biases())
        return Placement(self.sites, self.shared, biases, tuple(self.float_nodes), self.kept)

    def _visit(self, node: Node) -> None:
        op = op_name(node)
        weights = self._weight(node)
        moves = op in self.target.pass_through and op not in self.target.fused
        if self._is_kept(node) and not moves:
            self.float_nodes.append(node.name)
            self._add(node, "activation", layer_of(node))
        elif op in self.target.weighted and weights is not None:
            self._add(weights, "weight", f"{layer_of(node)}.weight", axis_of=node)
            self._add(self._fuse(node), "activation", layer_of(node))
        elif self._passes_on(node):
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
            f"{have.format(some)} no integer kernel on {self.target.name}: replace {them}, or keep "
            f"{them} in float with allow_float=True (--allow-float on the command line)"
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
        return op_name(node) in self.target.pass_through and _keeps_values(node)

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
        fixed = self.target.fixed_ranges.get(op_name(node))
        self.sites[node.name] = Site(unique, role, node.name, layer, ceiling, fixed)

    def _drop_gated(self) -> None:
        """A layer whose kernel computes ``x sigmoid(x)`` rounds ``x`` and ``sigmoid(x)`` not."""
        for node in self.module.graph.nodes:
            if op_name(node) not in self.target.takes_in_silu or node.name in self.float_nodes:
                continue
            gates = [user for user in node.users if op_name(user) == "sigmoid"]
            products = [user for user in node.users if op_name(user) == "mul"]
            if len(node.users) != 2 or len(gates) != 1 or len(products) != 1:
                continue
            gate, product = gates[0], products[0]
            if set(gate.users) == {product} and set(float_inputs(product)) == {node, gate}:
                self.sites.pop(node.name, None)
                self.sites.pop(gate.name, None)

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

    def _drop_in_front_of_cat(self) -> None:
        """What only a ``cat`` reads is rounded once, to the grid of the whole.

        ``cat(round(x), ...) = round(cat(x, ...))`` on one grid; ``convert`` puts the quantizer
        behind the layer that makes ``x``.
        """
        for node in self.module.graph.nodes:
            if op_name(node) == "cat" and node.name in self.sites:
                for part in float_inputs(node):
                    if self._only_read_by(part, node):
                        del self.sites[part.name]

    def _only_read_by(self, part: Node, cat: Node) -> bool:
        """Whether a kernel can hand ``part`` out on the grid of the ``cat``."""
        site = self.sites.get(part.name)
        own = site is not None and site.fixed is None and part.name not in self.fused
        computed = part.op == "call_function" and part.name not in self.float_nodes
        return own and computed and set(part.users) == {cat} and cat.name not in self.float_nodes

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

    def _drop_between_floats(self) -> None:
        """What float operators alone read is not rounded, if what makes it can hand out float."""
        read: set[str] = set()  # nodes whose values integer kernels read
        for node in reversed(self.module.graph.nodes):
            for user in node.users:
                integer = user.op == "call_function" and user.name not in self.float_nodes
                if user.name in self.shared:
                    integer = user.name in read
                if integer or (user.op == "output" and node.name not in self.float_nodes):
                    read.add(node.name)
        for node in self.module.graph.nodes:
            hands_out = op_name(node) in self.target.float_output or node.op == "placeholder"
            if node.name not in read and (node.name in self.float_nodes or hands_out):
                self.sites.pop(node.name, None)

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
