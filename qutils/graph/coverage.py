"""What a placement computes in integers, what stays in float, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch.fx import GraphModule, Node

from qutils.graph import einsums
from qutils.graph.nodes import (
    argument,
    constant,
    elements,
    float_inputs,
    is_float,
    layer_of,
    made_by,
    op_name,
)
from qutils.graph.ops import names
from qutils.graph.sites import FloatReason, Placement

_LAYERS = (
    *(*names("weighted"), "addmm"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
)
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
#: Below this share of multiply-adds in integer kernels there is a warning.
ENOUGH = 0.9
#: Number of layers that a sentence names for each operator.
NAMED = 3


@dataclass(frozen=True)
class FloatOperator:
    """An operator that stays in float: ATen name, module, reason, multiply-adds."""

    op: str
    layer: str
    reason: FloatReason
    multiply_adds: int = 0


@dataclass(frozen=True)
class Coverage:
    """How much of a network runs in integer kernels.

    ``multiply_adds`` are those of layers and matrix products for one batch of the size that was
    traced; ``integer`` of them are in integer kernels. An island is a connected group of float
    operators that integer kernels feed and read.
    """

    multiply_adds: int
    integer: int
    islands: int
    in_float: tuple[FloatOperator, ...]

    @property
    def share(self) -> float:
        """Share of the multiply-adds in integer kernels, 0..1; 1 if there are none."""
        return self.integer / self.multiply_adds if self.multiply_adds else 1.0

    def __str__(self) -> str:
        return " ".join(self.sentences())

    def sentences(self) -> list[str]:
        """Say what runs in integers, and for each reason what stays in float."""
        lines = [f"{self.share:.1%} of the multiply-adds run in integer kernels."]
        for reason, words in _WHY.items():
            found = [op for op in self.in_float if op.reason == reason]
            if found:
                lines.append(f"{words}: {_names(found)}.")
        if self.islands:
            plural = "s" * (self.islands > 1)
            lines.append(f"They form {self.islands} float island{plural} between integer kernels.")
        return lines

    @property
    def warning(self) -> str:
        """Say what keeps the share below 90 %, unless it was asked for; empty if nothing does."""
        unasked = sum(op.multiply_adds for op in self.in_float if op.reason != "kept")
        if unasked <= (1 - ENOUGH) * self.multiply_adds:
            return ""
        costly = sorted(self.in_float, key=lambda op: -op.multiply_adds)
        found = [op for op in costly if op.multiply_adds]
        return (
            f"Only {self.share:.1%} of the multiply-adds run in integer kernels. "
            f"The rest is computed in float by {_names(found)}."
        )


_WHY: dict[FloatReason, str] = {
    "no kernel": "No integer kernel, kept in float",
    "kept": "Kept in float as asked",
    "masked": "Sums before a softmax, in which a mask leaves 8 bits no resolution, kept in float",
    "weighs": "Weights of attention, which the kernel's scale resolves coarsely, kept in float",
    "beside float": "Between float operators, where integers would only round, kept in float",
    "ending": "In float at the end",
}


def coverage(module: GraphModule, placement: Placement) -> Coverage:
    """Return what a placement runs in integers; the graph's shapes give the multiply-adds."""
    total = integer = 0
    found = []
    for node in module.graph.nodes:
        if node.op != "call_function" or not is_float(node):
            continue
        cost = _multiply_adds(module, node)
        total += cost
        if node.name not in placement.in_float:
            integer += cost
        elif cost or float_inputs(made_by(node)):  # not the zeros that an LSTM starts from
            maker = made_by(node)
            reason = placement.in_float[node.name]
            found.append(FloatOperator(op_name(maker), layer_of(maker), reason, cost))
    return Coverage(total, integer, _islands(module, placement), tuple(found))


def _multiply_adds(module: GraphModule, node: Node) -> int:
    """Multiply-adds of a layer or matrix product, for the batch that was traced."""
    maker = made_by(node)
    op, inputs = op_name(maker), maker.all_input_nodes
    if op in ("addmm", "baddbmm"):
        return elements(node) * _last_axis(inputs[1])
    if op in names("product"):
        return elements(node) * _last_axis(inputs[0])
    if op == "scaled_dot_product_attention":  # q [.., L, E], k [.., S, E], v [.., S, V]
        query, value = inputs[0], inputs[2]
        pairs = elements(query) // _last_axis(query) * (elements(value) // _last_axis(value))
        heads = elements(node) // _last_axis(node) // _rows(query)
        return pairs // heads * (_last_axis(query) + _last_axis(value))
    if op == "einsum":
        return einsums.multiply_adds(node)
    if op in _RECURRENT:
        weights = [w for source in inputs if (w := constant(module, source)) is not None]
        steps = elements(inputs[0]) // _last_axis(inputs[0])
        is_first = node.args[1:] == (0,)
        return steps * sum(w.numel() for w in weights if w.ndim == 2) if is_first else 0
    weight = constant(module, argument(maker, 1)) if op in _LAYERS else None
    if weight is None or not weight.numel():
        return 0
    spread = inputs[0] if op.startswith("conv_transpose") else node  # [in, out / groups, ...]
    return elements(spread) * weight[0].numel()


def _last_axis(node: Node) -> int:
    return int(node.meta["val"].shape[-1])


def _rows(node: Node) -> int:
    return int(node.meta["val"].shape[-2])


def _islands(module: GraphModule, placement: Placement) -> int:
    """Count connected groups of float operators that integer kernels feed and read."""
    groups: dict[str, str] = {}

    def root(name: str) -> str:
        while groups[name] != name:
            name = groups[name]
        return name

    nodes = [n for n in module.graph.nodes if _computes_in_float(n, placement)]
    for node in nodes:
        groups[node.name] = node.name
        for source in float_inputs(node):
            if source.name in groups:
                groups[root(source.name)] = root(node.name)
    reading = {root(n.name) for n in nodes for u in n.users if _in_integers(u, placement)}
    fed = {root(n.name) for n in nodes for s in float_inputs(n) if _rounded(s, placement)}
    return len(reading & fed)


def _computes_in_float(node: Node, placement: Placement) -> bool:
    moved = node.name in placement.shared and placement.shared[node.name] not in placement.sites
    return node.name in placement.in_float or moved


def _in_integers(node: Node, placement: Placement) -> bool:
    return node.op == "call_function" and not _computes_in_float(node, placement)


def _rounded(node: Node, placement: Placement) -> bool:
    return node.op != "get_attr" and not _computes_in_float(node, placement)


def _names(found: list[FloatOperator]) -> str:
    """``gelu (blocks.0.act, blocks.1.act, blocks.2.act and 9 more), layer_norm (norm)``."""
    return ", ".join(f"{op} ({_some(layers)})" for op, layers in _by_operator(found))


def _by_operator(found: list[FloatOperator]) -> Iterator[tuple[str, list[str]]]:
    for op in dict.fromkeys(one.op for one in found):
        yield op, list(dict.fromkeys(one.layer for one in found if one.op == op))


def _some(layers: list[str]) -> str:
    more = len(layers) - NAMED
    return ", ".join(layers[:NAMED]) + (f" and {more} more" if more > 0 else "")
