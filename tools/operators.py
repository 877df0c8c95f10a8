"""Write docs/operators.md: which backend computes which operator in integers.

    python -m tools.operators

The states come from placement, for the operators of the conformance tests
(``tests/unit/backends/everyday.py`` and ``operators.py``), which run each of them in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from qutils.backends import BACKENDS
from qutils.files import write_text
from qutils.graph import capture, place
from qutils.graph.nodes import layer_of, op_name
from qutils.graph.targets import TARGETS
from tests.unit.backends import everyday, operators

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "operators.md"
_BACKENDS = {name: backend.label for name, backend in BACKENDS.items()}
_HEAD = """# Operators and backends

What becomes of an operator between two layers with integer weights:

- **integer**: the backend computes it with integers, or moves integers.
- partly: its sums of products or other parts are computed with integers, the rest in float.
- float: it is computed in float, between a dequantization and a quantization.
- refused: the exporter names the operator and writes no file.

`python -m tools.operators` writes this table from the placement of each operator of the
conformance tests. They run every one of them in a file on each fast backend and compare it
with the simulation. Convolutions of one to three axes, transposed ones and linear layers are
integer on all backends, but for three axes in LiteRT and ExecuTorch.

"""


class _Between(nn.Module):
    """A layer in front of each operator, and one that reads what it gives."""

    def __init__(self, functions: Mapping[str, everyday.Function], shape: tuple[int, ...]) -> None:
        super().__init__()
        layer = nn.Conv1d if len(shape) == 2 else nn.Conv2d
        self.volumes = shape == operators.SHAPES[3]  # two channels of three planes
        self.layers = nn.ModuleList(layer(shape[0], shape[0], 1) for _ in functions)
        self.operators = nn.ModuleList(everyday.Applied(f) for f in functions.values())
        with torch.no_grad():
            y = self._made(torch.zeros(2, *shape))
            self.heads = nn.ModuleList(nn.Linear(part.shape[1], 2) for part in y)

    def _made(self, x: torch.Tensor) -> list[torch.Tensor]:
        made = []
        for layer, operator in zip(self.layers, self.operators, strict=True):
            y = layer(x)
            y = y.unflatten(1, (2, -1)) if self.volumes else y
            made.append(operator(y).flatten(1))
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = zip(self.heads, self._made(x), strict=True)
        return torch.cat([head(part) for head, part in parts], 1)


def state_of() -> dict[str, dict[str, str]]:
    """``integer``, ``partly``, ``float`` or ``refused`` for each operator and backend."""
    found: dict[str, dict[str, str]] = {}
    for axes, shape in operators.SHAPES.items():
        functions = {n: f for n, (count, f) in operators.OPERATORS.items() if count == axes}
        found.update(_placed(functions, shape))
    found.update(_placed(everyday.EVERYDAY, everyday.SHAPE))
    for backend, names in everyday.REFUSED.items():
        for name in names:
            found[name][backend] = "refused"
    return dict(sorted(found.items()))


def _placed(
    functions: Mapping[str, everyday.Function], shape: tuple[int, ...]
) -> dict[str, dict[str, str]]:
    torch.manual_seed(0)
    module = _Between(functions, shape).eval()
    graph = capture(module, torch.randn(2, *shape)).module
    names = list(functions)
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for backend in _BACKENDS:
        placement = place(graph, TARGETS[backend])
        for number, name in enumerate(names):
            nodes = [n for n in graph.graph.nodes if layer_of(n) == f"operators.{number}"]
            in_float = [node for node in nodes if node.name in placement.in_float]
            computing = {*TARGETS[backend].products, *TARGETS[backend].quantized}
            integers = [n for n in nodes if op_name(n) in computing and n not in in_float]
            state = ("partly" if integers else "float") if in_float else "integer"
            found[name][backend] = state
    return found


def written(states: Mapping[str, Mapping[str, str]]) -> str:
    """The document."""
    rows = [
        ["operator", *_BACKENDS.values()],
        ["---"] * (1 + len(_BACKENDS)),
        *([name, *(_cell(states[name][backend]) for backend in _BACKENDS)] for name in states),
    ]
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(state: str) -> str:
    return f"**{state}**" if state == "integer" else state


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    write_text(DOCUMENT, written(state_of()))
