"""Where a planned quantizer is dropped, because no kernel rounds there or none needs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch.fx import GraphModule, Node

from qutils.graph.nodes import float_inputs, op_name, outputs_of
from qutils.graph.sites import Site
from qutils.graph.targets import Target


@dataclass(frozen=True)
class Unrounded:
    """Removes sites from a plan, in place.

    ``sites``, ``shared`` and ``in_float`` are those of ``Placement``; ``fused`` holds the nodes of
    activations that a kernel absorbs.
    """

    module: GraphModule
    target: Target
    sites: dict[str, Site]
    shared: Mapping[str, str]
    in_float: Collection[str]
    fused: Collection[str]

    def drop(self) -> None:
        """Drop every site that is not needed."""
        self._drop_gated()
        self._drop_addends()
        self._drop_in_front_of_cat()
        self._drop_unread()
        self._drop_between_floats()

    def _drop_gated(self) -> None:
        """A layer whose kernel computes ``x sigmoid(x)`` rounds ``x`` and ``sigmoid(x)`` not."""
        for node in self.module.graph.nodes:
            if op_name(node) not in self.target.takes_in_silu or node.name in self.in_float:
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
        """If the kernel fuses the following add, do not quantize the layer's own output."""
        for node in self.module.graph.nodes:
            if op_name(node) != "add" or node.name in self.in_float:
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
        computed = part.op == "call_function" and part.name not in self.in_float
        return own and computed and set(part.users) == {cat} and cat.name not in self.in_float

    def _drop_unread(self) -> None:
        """Outputs stay float after float operators or a kernel with float output."""
        if not self.target.quantize_output:
            for last in outputs_of(self.module):
                self._drop_last(last)

    def _drop_last(self, last: Node) -> None:
        while last.name in self.in_float and len(last.users) == 1:
            self.sites.pop(last.name, None)
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
                integer = user.op == "call_function" and user.name not in self.in_float
                if user.name in self.shared:
                    integer = user.name in read
                if integer or (user.op == "output" and node.name not in self.in_float):
                    read.add(node.name)
        for node in self.module.graph.nodes:
            site = self.sites.get(node.name)
            if site is None or site.role == "weight" or node.name in read:
                continue
            hands_out = op_name(node) in self.target.float_output or node.op != "call_function"
            if node.name in self.in_float or hands_out:
                del self.sites[node.name]
