"""Simulated model -> reference Q/DQ graph: the narrow waist that every exporter starts from.

Activations pass through ``quantize_per_tensor -> dequantize_per_tensor``; weights are stored as
integers behind ``dequantize_per_channel``, biases as int32 of ``scale(input) * scale(weight)``.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qutils.errors import UnsupportedError
from qutils.graph import Target
from qutils.graph.nodes import attribute, op_name
from qutils.graph.ops import clip_range
from qutils.graph.quiet import quiet
from qutils.numerics.affine import QParams, quantize
from qutils.quantize.simulate import FakeQuantize, FakeQuantizeBias, SimulatedModel


def register_operators() -> None:
    """Bring ``torch.ops.quantized_decomposed``; its import takes seconds, so that it waits here."""
    with quiet():  # torchao reports each GPU library that a CPU does not have
        import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401


def convert(sim: SimulatedModel) -> GraphModule:
    """The reference graph of a simulated model, in ``torch.ops.quantized_decomposed`` operators.

    Returns a new GraphModule, ``[N, ...] -> [N, classes]``, whose state holds int8 (uint8 for
    unsigned weights) and int32 tensors instead of float weights and biases. PyTorch's reference
    operator multiplies by ``1 / scale`` where simulation and ONNX divide: at a tie, and only there,
    an activation may land one step beside.

    Raises:
        UnsupportedError: weights are quantized per group, which the reference operators lack.
    Source: PyTorch 2 export quantization, reference representation.
    """
    register_operators()
    if sim.recipe.weights.granularity == "per_group":
        raise UnsupportedError("the reference graph has no per_group operators: use per_channel")
    module = copy.deepcopy(sim.graph_module)
    for node in list(module.graph.nodes):
        quantizer = _quantizer(module, node)
        source: Any = node.args[0] if node.args else None
        if isinstance(quantizer, FakeQuantizeBias):
            _store_bias(module, node, quantizer)
        elif isinstance(quantizer, FakeQuantize) and source.op == "get_attr":
            value = attribute(module, source.target).detach()
            _store(module, node, quantize(value, quantizer.qparams()), quantizer.qparams())
        elif isinstance(quantizer, FakeQuantize):
            _absorb(module, node, quantizer.qparams(), sim.target)
            _quantize_activation(module, node, quantizer.qparams())
    if not sim.target.follows_moves:
        _share(module, sim)
    _hand_forward(module, sim)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    _drop_unused_parameters(module)
    module.graph.lint()
    module.recompile()
    return module


def _quantizer(module: GraphModule, node: Node) -> torch.nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def integer_dtype(q: QParams) -> torch.dtype:
    """The 8-bit type that holds ``qmin..qmax``."""
    return torch.int8 if q.qmin < 0 else torch.uint8


def _store_bias(module: GraphModule, node: Node, quantizer: FakeQuantizeBias) -> None:
    source: Any = node.args[0]
    bias = attribute(module, source.target).detach()
    scale = quantizer.scale.expand_as(bias).clone()
    limits = torch.iinfo(torch.int32)
    integers = torch.round(bias / scale).clamp(limits.min, limits.max).to(torch.int32)
    zero = torch.zeros_like(integers)
    q = QParams(scale, zero, limits.min, limits.max, axis=0)
    _store(module, node, integers, q, torch.int32)


def _store(
    module: GraphModule, node: Node, integers: Tensor, q: QParams, dtype: torch.dtype | None = None
) -> None:
    """Replace ``node`` by a stored integer tensor and its dequantization."""
    dtype = dtype or integer_dtype(q)
    stem = str(node.target).removeprefix("quantizer_")
    ops = torch.ops.quantized_decomposed
    with module.graph.inserting_before(node):
        values = _buffer(module, f"{stem}_integers", integers.to(dtype))
        if q.axis is None:
            args: tuple[Any, ...] = (values, *_plain(q), dtype)
            new = module.graph.call_function(ops.dequantize_per_tensor.default, args)
        else:
            scale = _buffer(module, f"{stem}_scale", q.scale.clone())
            zero_point = _buffer(module, f"{stem}_zero_point", q.zero_point.long())
            args = (values, scale, zero_point, q.axis, q.qmin, q.qmax, dtype)
            new = module.graph.call_function(ops.dequantize_per_channel.default, args)
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    module.graph.erase_node(node)


def _buffer(module: GraphModule, name: str, value: Tensor) -> Node:
    module.register_buffer(name, value)
    node = module.graph.get_attr(name)
    node.meta["val"] = value
    return node


def _absorb(module: GraphModule, node: Node, q: QParams, target: Target) -> None:
    """Drop the fused activation in front of a quantizer whose range clips as it does.

    ``clamp(x, 0, c)`` changes nothing that is then clipped to ``[0, scale * levels]``, where
    ``scale * levels <= c``. Runtimes keep a layer in float where they do not see that themselves.
    """
    low, high = (float((q.scale * (end - q.zero_point)).double()) for end in (q.qmin, q.qmax))
    source: Any = node.args[0]
    while op_name(source) in target.fused and len(source.users) == 1:
        least, most = clip_range(source)
        if low != least or high > most * (1 + 1e-6):
            return
        before = source.args[0]
        node.replace_input_with(source, before)
        module.graph.erase_node(source)
        source = before


def _quantize_activation(module: GraphModule, node: Node, q: QParams) -> None:
    """``FakeQuantize(x)`` becomes ``dequantize(quantize(x))``."""
    new = _pair(module, node.args[0], q, before=node)  # type: ignore[arg-type]
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    module.graph.erase_node(node)


def _pair(module: GraphModule, source: Node, q: QParams, before: Node) -> Node:
    ops = torch.ops.quantized_decomposed
    rest = (*_plain(q), integer_dtype(q))
    with module.graph.inserting_before(before):
        integers = module.graph.call_function(ops.quantize_per_tensor.default, (source, *rest))
        return module.graph.call_function(ops.dequantize_per_tensor.default, (integers, *rest))


def _plain(q: QParams) -> tuple[float, int, int, int]:
    return float(q.scale), int(q.zero_point), q.qmin, q.qmax


def _share(module: GraphModule, sim: SimulatedModel) -> None:
    """Insert a Q/DQ pair with the input's scale after each pass-through op: it stays integer."""
    nodes = {node.name: node for node in module.graph.nodes}
    for name, origin in sim.placement.shared.items():
        site = sim.placement.sites.get(origin)
        node = nodes.get(name)
        if site is None or node is None:
            continue
        new = _pair(module, node, sim.quantizers[site.name].qparams(), before=node.next)
        new.meta = dict(node.meta)
        quantized = new.args[0]
        node.replace_all_uses_with(new, delete_user_cb=lambda user, q=quantized: user is not q)


def _hand_forward(module: GraphModule, sim: SimulatedModel) -> None:
    """Give unrounded inputs of a quantized ``cat`` the grid of its result."""
    settled = {*sim.placement.shared, *sim.placement.float_nodes}
    for node in list(module.graph.nodes):
        if op_name(node) != "cat" or node.name not in sim.placement.sites:
            continue
        q = sim.quantizers[sim.placement.sites[node.name].name].qparams()
        for part in node.all_input_nodes:
            if not op_name(part).startswith("dequantize") and part.name not in settled:
                pair = _pair(module, part, q, before=node)
                pair.meta = dict(part.meta)
                node.replace_input_with(part, pair)


def _drop_unused_parameters(module: GraphModule) -> None:
    """Forget the float weights that the graph no longer reads."""
    used = {str(n.target) for n in module.graph.nodes if n.op == "get_attr"}
    for name, _ in list(module.named_parameters()) + list(module.named_buffers()):
        if name not in used:
            parent, _, leaf = name.rpartition(".")
            delattr(module.get_submodule(parent), leaf)
