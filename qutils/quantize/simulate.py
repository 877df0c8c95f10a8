"""FakeQuantize modules, and the float model that behaves like the integer one."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from qutils.errors import InvalidInputError
from qutils.graph import Captured, Coverage, Placement, Site, Target, coverage
from qutils.graph.lookups import run_graph
from qutils.graph.nodes import argument, attribute, float_inputs, op_name
from qutils.graph.pair_sums import is_depthwise, safe_scale
from qutils.graph.signature import Batch
from qutils.nested import flat
from qutils.numerics.affine import MIN_SCALE, QParams, expand
from qutils.numerics.schemes import Recipe, Scheme
from qutils.numerics.ste import fake_quantize_ste, round_ste
from qutils.quantize.training import Point

#: Biases keep this many bits, one less than int32 holds, so that sums have headroom.
BIAS_LIMIT = float(1 << 30)
#: Steps of a whole over steps of what it joins, between which they may share one grid: hardly any
#: range and at most one bit is lost.
COARSER = (0.9, 2.0)


class FakeQuantize(nn.Module):
    """One quantizer: ``y = scale * (clamp(round(x / scale) + zero_point) - zero_point)``.

    ``scale`` and ``zero_point`` are parameters, frozen until QAT trains them. The zero point is
    kept as a float and rounded on use.
    Shapes: any ``x``; scale ``[]``, ``[C]`` or ``[C, G]`` as in ``QParams``.
    """

    def __init__(self, site: Site, scheme: Scheme, q: QParams) -> None:
        super().__init__()
        self.site, self.scheme, self.axis = site, scheme, q.axis
        self.scale = nn.Parameter(q.scale.clone(), requires_grad=False)
        self.zero_point = nn.Parameter(q.zero_point.float(), requires_grad=False)

    def positive_scale(self) -> Tensor:
        """The scale as it acts, wherever training has led it.

        At least ``MIN_SCALE``; at most what ends the range at the site's ceiling.
        """
        scale = self.scale.detach().clamp(min=MIN_SCALE)
        if math.isinf(self.site.ceiling):
            return scale
        levels = self.scheme.qmax - self.zero_point.detach().round()
        return torch.minimum(scale, self.site.ceiling / levels.clamp(min=1))

    def qparams(self) -> QParams:
        """The quantizer as plain data, zero point rounded, scale positive."""
        scale = self.positive_scale()
        zero_point = self.zero_point.detach().round().clamp(self.scheme.qmin, self.scheme.qmax)
        return QParams(
            scale,
            zero_point.to(torch.int32),
            self.scheme.qmin,
            self.scheme.qmax,
            self.axis,
            self.scheme.group_size,
        )

    def forward(self, x: Tensor) -> Tensor:
        scale = self.positive_scale() + (self.scale - self.scale.detach())  # gradient passes
        zero_point = round_ste(self.zero_point).clamp(self.scheme.qmin, self.scheme.qmax)
        if self.axis is not None:
            scale = expand(scale, x, self.axis, self.scheme.group_size)
            zero_point = expand(zero_point, x, self.axis, self.scheme.group_size)
        return fake_quantize_ste(x, scale, zero_point, self.scheme.qmin, self.scheme.qmax)

    def extra_repr(self) -> str:
        size = "" if self.scheme.group_size is None else f", group_size={self.scheme.group_size}"
        return f"{self.site.name}, bits={self.scheme.bits}, {self.scheme.granularity}{size}"


class FakeQuantizeBias(nn.Module):
    """Bias on the grid of the int32 accumulator: ``scale = scale(input) * scale(weight)``.

    Shapes: ``[C] -> [C]``. Weights quantized per group have no single accumulator scale; their
    bias stays float.
    """

    def __init__(self, source: FakeQuantize, weight: FakeQuantize) -> None:
        super().__init__()
        self._quantizers = (source, weight)  # a tuple: they are not submodules of the bias

    @property
    def scale(self) -> Tensor:
        """Scale of the accumulator, ``[]`` or ``[C]``."""
        source, weight = self._quantizers
        return source.positive_scale() * weight.positive_scale()

    def forward(self, bias: Tensor) -> Tensor:
        if self._quantizers[1].scheme.granularity == "per_group":
            return bias
        scale = self.scale
        return bias + (torch.round(bias / scale) * scale - bias).detach()


class SimulatedModel(nn.Module):
    """A model in float arithmetic whose tensors are rounded where the integer kernels round.

    Made by ``calibrate``; refined by ``ptq`` and ``qat``; converted and exported from here.
    """

    def __init__(
        self,
        captured: Captured,
        placement: Placement,
        target: Target,
        recipe: Recipe,
        quantizers: dict[str, FakeQuantize],
        samples: Batch | None = None,
    ) -> None:
        super().__init__()
        self.captured, self.placement, self.target, self.recipe = (
            captured,
            placement,
            target,
            recipe,
        )
        self.graph_module = _insert(captured.module, placement, quantizers)
        self.curve: tuple[Point, ...] = ()  # of QAT, if any
        self.samples = samples  # a few of the calibration set, to verify files with

    @property
    def quantizers(self) -> dict[str, FakeQuantize]:
        """The FakeQuantize of every site, by site name, in order of execution."""
        found = (m for m in self.graph_module.modules() if isinstance(m, FakeQuantize))
        return {module.site.name: module for module in found}

    @property
    def coverage(self) -> Coverage:
        """What runs in integer kernels and what stays in float, with the reasons."""
        return coverage(self.captured.module, self.placement)

    def forward(self, *given: Any, **named: Any) -> Any:
        """Return the network's output for a batch: a tensor, or a dict of tensors by name.

        Several inputs are given by name, as one dict, or in order.

        Raises:
            InvalidInputError: names, shapes or types do not fit.
        """
        signature = self.captured.signature
        x: Batch | None = given[0] if len(given) == 1 else None
        if len(given) > 1:
            found = list(flat({"": given}).values())
            if len(found) != len(signature.names):
                raise InvalidInputError(
                    f"The model takes {signature}, got {len(found)} tensors in order. Give as "
                    "many, or name them."
                )
            x = dict(zip(signature.names, found, strict=True))
        if x is not None and named:
            raise InvalidInputError(
                f"The model was given one batch and {', '.join(named)} besides. Give all inputs by "
                "name, or as one dict."
            )
        batch: Batch = named if x is None else x
        return signature.pack(run_graph(self.graph_module, *signature.arguments(batch)))

    def copy(self) -> SimulatedModel:
        """An independent copy; training it leaves this one alone."""
        return copy.deepcopy(self)

    def fit_scales(self) -> None:
        """Settle what ranges of single tensors leave open between them: cats, weights, biases."""
        self.join_cats()
        self.fit_pairs()
        self.fit_biases()

    @torch.no_grad()
    def fit_pairs(self) -> None:
        """Raise weight scales just enough that no pair of products overflows 16 bits.

        Only where the recipe is ``saturation_safe``, and not in depthwise layers, whose kernels add
        in 32 bits. See ``graph.pair_sums``.
        """
        if self.recipe.saturation_safe is not True:
            return
        for layer in self.graph_module.graph.nodes:
            if op_name(layer) not in self.target.weighted or layer.args[1].op != "call_module":
                continue
            quantizer: Any = self.graph_module.get_submodule(str(layer.args[1].target))
            if quantizer.site.role != "weight" or quantizer.scheme.granularity == "per_group":
                continue
            weight = attribute(self.graph_module, str(layer.args[1].args[0].target))
            if not is_depthwise(weight, argument(layer, 6, 1)):
                scale = safe_scale(weight, quantizer.positive_scale(), quantizer.scheme)
                quantizer.scale.copy_(scale)

    @torch.no_grad()
    def fit_biases(self) -> None:
        """Raise weight scales just enough that every int32 bias fits.

        A channel of tiny weights with a large bias would overflow:
        ``|bias| / (scale(input) * scale(weight)) <= 2^30``.
        """
        for quantizer, source in self._quantized():
            if isinstance(quantizer, FakeQuantizeBias):
                _widen(quantizer, attribute(self.graph_module, str(source.target)))

    @torch.no_grad()
    def join_cats(self) -> None:
        """Give what a ``cat`` joins the grid of the whole, where that costs at most a bit.

        Its kernel then copies integers, where it would round them a second time. Below 8 bits, and
        between other integers (unsigned and signed), each keeps its own; so does a ReLU, which
        kernels fuse only where integers begin at 0. Training may lead grids apart again.
        """
        sites, shared, quantizers = self.placement.sites, self.placement.shared, self.quantizers
        joined: set[str] = set()
        for node in reversed(list(self.captured.module.graph.nodes)):  # a cat of cats comes first
            if op_name(node) != "cat" or node.name not in sites:
                continue
            whole = quantizers[sites[node.name].name]
            for part in float_inputs(node):
                site = sites.get(shared.get(part.name, part.name))
                if site is None or site.name in joined:
                    continue
                own = quantizers[site.name]
                if _may_share(own, whole):
                    own.scale.copy_(whole.scale)
                    own.zero_point.copy_(whole.zero_point)
                    joined.add(site.name)

    def _quantized(self) -> Iterator[tuple[nn.Module, Node]]:
        """Each quantizer call of the graph, with the node it quantizes."""
        for node in self.graph_module.graph.nodes:
            if node.op == "call_module":
                yield self.graph_module.get_submodule(str(node.target)), node.args[0]


def _may_share(own: FakeQuantize, whole: FakeQuantize) -> bool:
    """Whether ``own`` may have the grid of the ``cat`` that it is part of."""
    if own.site.role == "weight" or own.site.fixed is not None:
        return False
    kinds = {(q.scheme.qmin, q.scheme.qmax, q.scheme.symmetric) for q in (own, whole)}
    if len(kinds) > 1 or whole.scheme.bits < 8 or not math.isinf(own.site.ceiling):
        return False
    begins = [float(q.zero_point.detach().round()) for q in (own, whole)]
    if begins[0] == own.scheme.qmin != begins[1]:
        return False  # its range is its ReLU
    coarser = float(whole.positive_scale() / own.positive_scale())
    return COARSER[0] <= coarser <= COARSER[1]


def _widen(quantizer: FakeQuantizeBias, bias: Tensor) -> None:
    source, weight = quantizer._quantizers
    if weight.scheme.granularity == "per_group":
        return
    needed = bias.detach().abs() / (source.positive_scale() * BIAS_LIMIT)
    weight.scale.copy_(torch.maximum(weight.scale, needed if weight.scale.ndim else needed.max()))


def _insert(
    module: GraphModule, placement: Placement, quantizers: dict[str, FakeQuantize]
) -> GraphModule:
    """Return a copy of the graph with a quantizer after every site and bias."""
    missing = [s.name for s in placement.sites.values() if s.name not in quantizers]
    if missing:
        raise InvalidInputError(f"no quantizer for {', '.join(missing)}")
    result = copy.deepcopy(module)
    nodes = {node.name: node for node in result.graph.nodes}
    for site in placement.sites.values():
        path = f"quantizer_{site.node}"
        result.add_submodule(path, quantizers[site.name])
        _insert_behind(result, nodes[site.node], path)
    for bias in placement.biases:
        path = f"quantizer_{bias.consumer}_bias"
        pair = FakeQuantizeBias(quantizers[bias.input], quantizers[bias.weight])
        result.add_submodule(path, pair)
        consumer = nodes[bias.consumer]
        with result.graph.inserting_before(consumer):
            node = result.graph.call_module(path, (nodes[bias.node],))
        node.meta = dict(nodes[bias.node].meta)
        consumer.args = (*consumer.args[:2], node, *consumer.args[3:])
    result.graph.lint()
    result.recompile()
    return result


def _insert_behind(module: GraphModule, node: Node, path: str) -> None:
    with module.graph.inserting_after(node):
        quantized = module.graph.call_module(path, (node,))
    quantized.meta = dict(node.meta)
    node.replace_all_uses_with(quantized, delete_user_cb=lambda user: user is not quantized)
