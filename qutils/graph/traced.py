"""From open axes to a trace and back: what torch.export is given, and which limits it found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qutils.errors import UnsupportedError
from qutils.graph.axes import Layout
from qutils.graph.inputs import OpenAxis, Table, TensorSpec
from qutils.graph.nodes import argument, constant, layer_of, op_name

#: Operators after which integers are still those of the input, or some of them.
_MOVES = frozenset(
    {"view", "reshape", "_unsafe_view", "flatten", "squeeze", "unsqueeze", "permute", "transpose"}
    | {"expand", "clone", "alias", "contiguous", "to", "_to_copy"}
)
#: From here on an end of a slice means that there is none.
_NO_END = 2**62
#: How torch.export says that an axis is fixed.
_FIXED = re.compile(
    r"You marked (?P<place>L\[.*?)\.size\(\)\[(?P<axis>\d+)\] as dynamic but your code specialized "
    r"it to be a constant \((?P<size>\d+)\)"
)


def traced_with(x: Tensor, axes: Layout, name: str) -> Tensor:
    """Return what a trace runs on: two samples, and open axes of size 2 at least.

    A size of 1 would be taken for a constant.
    """
    batch = axes.batch[name]
    if batch is not None:
        x = x.index_select(batch, torch.tensor([0, x.shape[batch] - 1], device=x.device))
    for axis in axes.names[name]:
        if x.shape[axis] == 1:
            x = x.index_select(axis, torch.zeros(2, dtype=torch.long, device=x.device))
    return x.detach().cpu()


def open_sizes(axes: Layout, name: str) -> dict[int, Any] | None:
    """Return the open axes of an input as ``torch.export`` takes them; None if there are none."""
    batch = axes.batch[name]
    found = [*axes.names[name], *([] if batch is None else [batch])]
    return dict.fromkeys(found, torch.export.Dim.DYNAMIC) or None


def fixed_axis(
    error: Exception, axes: Layout, shapes: Mapping[str, Sequence[int]]
) -> UnsupportedError | None:
    """Return the error for an axis that the model takes for a constant; None for other errors.

    Args:
        shapes: of the inputs that were traced.
    """
    found = _FIXED.search(str(error))
    if found is None:
        return None
    axis, size = int(found["axis"]), found["size"]
    said = re.findall(r"\['(\w+)'\]", found["place"])
    name = said[-1] if said and said[-1] in axes.batch else next(iter(axes.batch))
    if axis == axes.batch[name]:
        return UnsupportedError(
            f"The batch of {name!r} cannot be open: forward computes with its size {size} as a "
            f"constant. Use x.shape[{axis}] there. If another axis is the batch, say which: "
            f"dynamic={{{name!r}: {{1: 'batch'}}}}; {{{axis}: None}} keeps the size of the example."
        )
    beside = next(
        (
            (other, place)
            for other, shape in shapes.items()
            for place, length in enumerate(shape)
            if length == int(size) and place not in axes.names[other] and other != name
        ),
        None,
    )
    if beside is not None:
        other, place = beside
        word = axes.names[name].get(axis)
        return UnsupportedError(
            f"The axis {axis} of {name!r} ({word}) cannot be open while axis {place} of {other!r}, "
            f"of the same size {size}, stays fixed. If they belong together, open both: "
            f"dynamic={{{name!r}: {{{axis}: {word!r}}}, {other!r}: {{{place}: {word!r}}}}}, or "
            f"--dynamic {name}:{axis}={word} --dynamic {other}:{place}={word}. Otherwise forward "
            "computes with that size as a constant: leave the axis out, and give samples of one "
            "size."
        )
    return UnsupportedError(
        f"The axis {axis} of {name!r} ({axes.names[name].get(axis)}) cannot be open: forward "
        f"computes with its size {size} as a constant. Use x.shape[{axis}] there, or leave the "
        "axis out of dynamic and give samples of one size."
    )


def inputs_of_trace(
    module: GraphModule, example: Mapping[str, Tensor], axes: Layout, ranges: Mapping[Any, Any]
) -> tuple[tuple[TensorSpec, ...], tuple[OpenAxis, ...]]:
    """Return what a traced graph takes, in its own order, and its open axes.

    Args:
        example: what was traced.
        ranges: the sizes that each symbol may have, as ``torch.export`` found them.
    """
    places = {str(n.target): n for n in module.graph.nodes if n.op == "placeholder"}
    order = sorted(example, key=_place(places)) if len(example) > 1 else list(example)
    nodes = dict(zip(order, places.values(), strict=True))
    tables = _tables(module)
    specs = tuple(
        TensorSpec(
            name,
            tuple(
                axes.names[name].get(axis, size)
                for axis, size in enumerate(example[name].shape)
                if axis != axes.batch[name]
            ),
            example[name].dtype,
            axes.batch[name],
            tables.get(nodes[name]),
        )
        for name in order
    )
    return specs, tuple(_open_axes(module, nodes, example, axes, ranges))


def _place(placeholders: Iterable[str]) -> Callable[[str], int]:
    """Return what finds an input's place by its name.

    ``torch.export`` writes names in small letters, with ``_`` for what is no letter or digit.
    """
    order = list(placeholders)

    def place(name: str) -> int:
        spelled = re.sub(r"[^a-z0-9]", "_", name.lower())
        found = [i for i, other in enumerate(order) if other in (name, spelled)]
        if len(found) != 1:
            raise UnsupportedError(
                f"The input {name!r} cannot be told from others in the trace "
                f"({', '.join(order)}). Give inputs names that differ in more than the case of "
                "letters and signs."
            )
        return found[0]

    return place


def _open_axes(
    module: GraphModule,
    nodes: Mapping[str, Node],
    example: Mapping[str, Tensor],
    axes: Layout,
    ranges: Mapping[Any, Any],
) -> Iterator[OpenAxis]:
    """Each open axis once, with the smallest of the limits that its inputs have."""
    positions = dict(_positions(module))
    sizes: dict[str, int] = {}
    limits: dict[str, list[int]] = {}
    for name, named in axes.names.items():
        for axis, said in named.items():
            sizes.setdefault(said, example[name].shape[axis])
            symbol = nodes[name].meta["val"].shape[axis].node.expr
            found = [_upper(ranges.get(symbol)), positions.get(symbol)]
            limits.setdefault(said, []).extend(limit for limit in found if limit is not None)
    for said, size in sizes.items():
        yield OpenAxis(said, size, min(limits[said], default=None))


def _upper(allowed: Any) -> int | None:
    """The largest size of a range; None if there is no limit."""
    upper = getattr(allowed, "upper", None)
    return int(upper) if upper is not None and getattr(upper, "is_Integer", False) else None


def _tables(module: GraphModule) -> dict[Node, Table]:
    """For each input whose integers index embeddings, the smallest of these."""
    found: dict[Node, Table] = {}
    for node in module.graph.nodes:
        weight = constant(module, argument(node, 0)) if op_name(node) == "embedding" else None
        source = _origin(node.args[1]) if weight is not None else None
        if weight is None or source is None or source.op != "placeholder":
            continue
        if source not in found or len(weight) < found[source].rows:
            found[source] = Table(layer_of(node), len(weight))
    return found


def _positions(module: GraphModule) -> Iterator[tuple[Any, int]]:
    """Symbols of sizes that number the rows of an embedding, ``arange(S)``, with their number."""
    for node in module.graph.nodes:
        weight = constant(module, argument(node, 0)) if op_name(node) == "embedding" else None
        source = _origin(node.args[1]) if weight is not None else None
        if weight is None or source is None or op_name(source) != "arange":
            continue
        ends = [end for end in source.args if isinstance(end, Node)]
        value = ends[0].meta.get("val") if len(ends) == 1 else None
        if isinstance(value, torch.SymInt):
            yield value.node.expr, len(weight)


def _is_whole(node: Node) -> bool:
    """Return True for a slice that leaves nothing out."""
    if op_name(node) != "slice" or argument(node, 4, 1) != 1 or argument(node, 2) not in (None, 0):
        return False
    end = argument(node, 3)
    return end is None or (isinstance(end, int) and end >= _NO_END)


def _origin(node: Any) -> Node | None:
    """The node whose integers these are, moved at most."""
    while isinstance(node, Node) and (op_name(node) in _MOVES or _is_whole(node)):
        node = node.args[0]
    return node if isinstance(node, Node) else None
