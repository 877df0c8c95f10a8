"""Operators written as the simpler ones they consist of, for backends that have only those.

The functions use sums, products, quotients, powers, clamps, exponentials, square roots, reductions
and reshapes, none of which mentions the size of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

from qutils.graph.nodes import argument, insert, op_name

#: Samples of the example from which a function is traced.
_BATCH = 2


def _softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """``log(1 + exp(beta x)) / beta``, in the form that does not overflow."""
    return x.relu() + (1 + (-(beta * x).abs()).exp()).log() / beta


def _mish(x: Tensor) -> Tensor:
    return x * _softplus(x).tanh()


def _elu(x: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Tensor:
    negative = (x.clamp(max=0) * input_scale).exp() - 1
    result: Tensor = (x.relu() + alpha * negative) * scale
    return result


def _selu(x: Tensor) -> Tensor:
    return _elu(x, 1.6732632423543772, 1.0507009873554805)


def _celu(x: Tensor, alpha: float = 1) -> Tensor:
    return _elu(x, alpha, 1, 1 / alpha)


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    slope = weight.reshape(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else weight
    return x.relu() + slope * x.clamp(max=0)


def _hardsigmoid(x: Tensor) -> Tensor:
    return (x / 6 + 0.5).clamp(0, 1)


def _normalized(x: Tensor, axes: list[int], eps: float) -> Tensor:
    centered = x - x.mean(axes, keepdim=True)
    variance = (centered * centered).mean(axes, keepdim=True)
    return centered * (variance + eps).rsqrt()


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _layer_norm(
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Tensor:
    return _scaled(_normalized(x, list(range(-len(shape), 0)), eps), weight, bias)


def _group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Tensor:
    sizes = x.shape[1:]
    apart = x.reshape(_BATCH, groups, math.prod(sizes) // groups)
    together = _normalized(apart, [2], eps).reshape(_BATCH, *sizes)
    return _by_channel(together, weight, bias)


def _by_channel(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    weight, bias = (
        None if t is None else t.reshape(-1, *[1] * (x.ndim - 2)) for t in (weight, bias)
    )
    return _scaled(x, weight, bias)


def _instance_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    own_statistics: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Tensor:
    if not own_statistics:
        raise NotImplementedError
    return _by_channel(_normalized(x, list(range(2, x.ndim)), eps), weight, bias)


def _rms_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    axes = list(range(-len(shape), 0))
    return _scaled(x * ((x * x).mean(axes, keepdim=True) + eps).rsqrt(), weight, None)


def _vector_norm(
    x: Tensor, order: float = 2, axes: Sequence[int] | None = None, keepdim: bool = False, **_: Any
) -> Tensor:
    if axes is None or order not in (1, 2):
        raise NotImplementedError
    summed = (x.abs() if order == 1 else x * x).sum(list(axes), keepdim=keepdim)
    return summed if order == 1 else summed.sqrt()


def _rsub(x: Tensor, other: Any, alpha: float = 1) -> Tensor:
    result: Tensor = x * -alpha + other
    return result


def _reciprocal(x: Tensor) -> Tensor:
    return x**-1


def _square(x: Tensor) -> Tensor:
    return x * x


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "softplus": _softplus,
    "mish": _mish,
    "elu": _elu,
    "selu": _selu,
    "celu": _celu,
    "prelu": _prelu,
    "hardsigmoid": _hardsigmoid,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "rms_norm": _rms_norm,
    "linalg_vector_norm": _vector_norm,
    "rsub": _rsub,
    "reciprocal": _reciprocal,
    "square": _square,
}


def spell_out(module: GraphModule, is_known: Callable[[Node], bool]) -> set[str]:
    """Replace operators that are not known by simpler ones, in place; return the new nodes.

    Operators and arguments that no function of this file describes stay as they are.
    """
    made = _slice_parts(module)
    for node in list(module.graph.nodes):
        function = _FUNCTIONS.get(op_name(node))
        if function is None or is_known(node):
            continue
        try:
            traced = _traced(node, function)
        except NotImplementedError:
            continue
        made |= _inline(module, node, traced)
    module.recompile()
    return made


def _slice_parts(module: GraphModule) -> set[str]:
    """Make a slice without its axis of each ``select`` and each part of ``unbind``."""
    made: set[str] = set()
    for node in list(module.graph.nodes):
        if op_name(node) == "select":
            made |= _sliced(node, node, argument(node, 1), argument(node, 2))
        elif op_name(node) == "unbind":
            for part in [user for user in node.users if op_name(user) == "getitem"]:
                made |= _sliced(part, node, argument(node, 1, 0), part.args[1])
    module.graph.eliminate_dead_code()
    return made


def _sliced(result: Node, node: Node, axis: int, index: Any) -> set[str]:
    source: Any = node.args[0]
    value = source.meta["val"]
    size, axis = value.shape[axis], axis % value.ndim
    if not isinstance(size, int) or not isinstance(index, int):
        return set()  # along the batch
    index %= size
    part = value.narrow(axis, index, 1)
    aten = torch.ops.aten
    one = insert(result, aten.slice.Tensor, (source, axis, index, index + 1), part)
    made = insert(result, aten.squeeze.dim, (one, axis), part.squeeze(axis))
    result.replace_all_uses_with(made)
    return {one.name, made.name}


def _traced(node: Node, function: Callable[..., Tensor]) -> GraphModule:
    """The function's operators for arguments of these shapes, two samples in a batch."""
    sources = node.all_input_nodes

    def run(*given: Tensor) -> Tensor:
        values = dict(zip(sources, given, strict=True))
        args: Any = map_arg(node.args, values.__getitem__)
        return function(*args, **node.kwargs)

    examples = [torch.rand(_shape(source)) + 1 for source in sources]
    with torch.no_grad():
        traced: GraphModule = make_fx(run)(*examples)
    return traced


def _shape(node: Node) -> list[int]:
    sizes = node.meta["val"].shape
    return [size if isinstance(size, int) else _BATCH for size in sizes]


def _inline(module: GraphModule, node: Node, traced: GraphModule) -> set[str]:
    """Put the traced operators in front of ``node`` and take their result for its own."""
    values: dict[Node, Any] = {}
    sources = iter(node.all_input_nodes)
    made: set[str] = set()
    for step in traced.graph.nodes:
        if step.op == "placeholder":
            values[step] = next(sources)
        elif step.op == "call_function":
            args: Any = map_arg(step.args, values.__getitem__)
            operator = step.target
            if op_name(step) in ("view", "reshape"):
                operator = torch.ops.aten.reshape.default  # takes channels-last values too
                args = (args[0], [-1, *args[1][1:]]) if args[1][0] == _BATCH else args
            with module.graph.inserting_before(node):
                new = module.graph.call_function(operator, args, dict(step.kwargs))
            new.meta = {**node.meta, "val": step.meta["val"]}
            values[step] = new
            made.add(new.name)
        elif step.op == "output":
            result = step.args[0]
            node.replace_all_uses_with(values[result])
            module.graph.erase_node(node)
    return made
