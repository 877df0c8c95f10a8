"""Indices outside of an embedding: which one, and what it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from qutils.errors import InvalidInputError
from qutils.graph.nodes import layer_of, op_name


def outside(layer: str, rows: int, indices: Tensor) -> InvalidInputError | None:
    """Return the error for indices that are not all in ``0 .. rows - 1``; None if they are."""
    if not indices.numel():
        return None
    low, high = (int(end) for end in indices.aminmax())
    if low >= 0 and high < rows:
        return None
    return InvalidInputError(
        f"Expected indices from 0 to {rows - 1} for {layer}, an embedding of {rows} rows, got "
        f"{low if low < 0 else high}. Use the vocabulary that the model was trained with, and "
        "inputs that are no longer than it takes."
    )


def failed_lookup(model: nn.Module, run: Callable[[], Any]) -> InvalidInputError | None:
    """Run a model again and return the error for its first embedding with an index outside."""
    found: list[InvalidInputError] = []

    def look(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            if isinstance(module, nn.Embedding) and isinstance(args[0], Tensor):
                error = outside(name, module.num_embeddings, args[0])
                found.extend([error] if error is not None else [])

        return before

    hooks = [
        module.register_forward_pre_hook(look(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
    ]
    try:
        run()
    except Exception:  # the one that is being explained
        return next(iter(found), None)
    finally:
        for hook in hooks:
            hook.remove()
    return None


class _Lookups(Interpreter):
    """Runs a graph up to the first embedding with an index outside, and raises the error for it."""

    def run_node(self, n: Node) -> Any:
        if op_name(n) == "embedding":
            weight, indices = self.fetch_args_kwargs_from_env(n)[0][:2]
            if (error := outside(layer_of(n), len(weight), indices)) is not None:
                raise error
        return super().run_node(n)


def run_graph(module: GraphModule, *inputs: Tensor) -> Any:
    """Run a graph.

    Raises:
        InvalidInputError: an index outside of an embedding, which is named.
    """
    try:
        return module(*inputs)
    except IndexError:
        again = _Lookups(module)
        again.extra_traceback = False
        with torch.no_grad():
            again.run(*inputs)
        raise
