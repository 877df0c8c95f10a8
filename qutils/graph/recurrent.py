"""Recurrent layers whose length stays open: PyTorch traces its own for one length only.

While a model is traced, LSTM, GRU and RNN are operators of our own, which say what shapes they make
for any length. Outside they are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.overrides import TorchFunctionMode

_SETTINGS = (
    "Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, "
    "bool bidirectional, bool batch_first"
)
#: Place of ``has_biases`` among the arguments; of a packed sequence, of the weights.
_SETTINGS_AT = 3
_LIBRARY: Any = torch.library.Library("qutils", "FRAGMENT")  # type: ignore[no-untyped-call]
#: Operator of PyTorch by name, and how many states it has: LSTM two, the others one.
_STATES = {"lstm": 2, "gru": 1, "rnn_tanh": 1, "rnn_relu": 1}
#: Names of the operators.
RECURRENT = frozenset(_STATES)
#: PyTorch's operator -> ours.
OPEN: dict[Any, Any] = {}


def _shapes_of(states: int) -> Any:
    """Return the function that makes outputs and last states of an operator, without values."""

    def shapes(x: Tensor, hx: Any, *settings: Any) -> tuple[Tensor, ...]:
        given = tuple(hx) if states > 1 else (hx,)
        bidirectional = settings[5]
        width = given[0].shape[-1] * (2 if bidirectional else 1)
        return (x.new_empty([*x.shape[:-1], width]), *map(torch.empty_like, given))

    return shapes


def _register(name: str, states: int) -> None:
    hx = "Tensor[] hx" if states > 1 else "Tensor hx"
    results = ", ".join(["Tensor"] * (1 + states))
    _LIBRARY.define(f"{name}(Tensor input, {hx}, {_SETTINGS}) -> ({results})")
    original = getattr(torch.ops.aten, name).input
    _LIBRARY.impl(name, original, "CPU")
    _LIBRARY.impl(name, _shapes_of(states), "Meta")
    OPEN[original] = getattr(torch.ops.qutils, name).default


for _name, _count in _STATES.items():
    _register(_name, _count)

_CALLED = {getattr(torch, name): getattr(torch.ops.aten, name).input for name in _STATES}


class _Opened(TorchFunctionMode):
    """Calls our operators where layers call PyTorch's, but for packed sequences."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _CALLED and not _is_packed(args):
            func = OPEN[_CALLED[func]]
        return func(*args, **(kwargs or {}))


def _is_packed(args: tuple[Any, ...]) -> bool:
    """Return True if a layer got a packed sequence (data, sizes, states), not (data, states)."""
    return len(args) > _SETTINGS_AT and not isinstance(args[_SETTINGS_AT], bool)


@contextmanager
def open_lengths(model: nn.Module) -> Iterator[None]:
    """Trace recurrent layers for any length inside the block, graphs of ``model`` included."""
    changed = []
    graphs = [part for part in model.modules() if isinstance(part, GraphModule)]
    for node in (node for part in graphs for node in part.graph.nodes):
        if node.target in OPEN:
            changed.append((node, node.target))
            node.target = OPEN[node.target]
    _recompile(graphs, bool(changed))
    try:
        with _Opened():
            yield
    finally:
        for node, target in changed:
            node.target = target
        _recompile(graphs, bool(changed))


def close_lengths(module: GraphModule) -> None:
    """Call PyTorch's operators in a traced graph, in place."""
    ours = {opened: original for original, opened in OPEN.items()}
    for node in module.graph.nodes:
        if node.op == "call_function":
            node.target = ours.get(node.target, node.target)


def _recompile(graphs: list[GraphModule], changed: bool) -> None:
    for part in graphs if changed else ():
        part.recompile()
