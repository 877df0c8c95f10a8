"""Functions of one value and reductions as LiteRT's int8 kernels: equal to the reference."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qutils.backends.export import export
from qutils.backends.runtimes import load
from qutils.evaluate.analysis import sqnr_db
from qutils.evaluate.analysis.verify import verify
from qutils.integer import IntegerReference
from qutils.quantize.calibration import calibrate
from tests.unit.backends.litert.executing import computing

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")

SLOPES = torch.tensor([0.2, -0.1, 0.5, 0.05])
#: axes in space of ``[N, 4, ...]`` -> operators.
FUNCTIONS: dict[int, dict[str, Callable[[Tensor], Tensor]]] = {
    0: {"hardsigmoid": F.hardsigmoid, "prelu": lambda x: F.prelu(x, SLOPES), "gelu": F.gelu},
    1: {
        "hardsigmoid": F.hardsigmoid,
        "prelu": lambda x: F.prelu(x, SLOPES),
        "mean": lambda x: x.mean(2),
        "sum of channels": lambda x: x.sum(1),
        "amin": lambda x: x.amin(-1, keepdim=True),
    },
    2: {
        "tanh": torch.tanh,
        "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
        "elu": F.elu,
        "hardswish": F.hardswish,
        "hardsigmoid": F.hardsigmoid,
        "prelu, one slope": lambda x: F.prelu(x, SLOPES[:1]),
        "abs": torch.abs,
        "sub": lambda x: x - x.flip(2),
        "maximum": lambda x: torch.maximum(x, x.flip(3)),
        "minimum of a constant": lambda x: torch.minimum(x, SLOPES.reshape(4, 1, 1)),
        "mean of rows": lambda x: x.mean(2),
        "mean of rows, kept": lambda x: x.mean(2, keepdim=True),
        "mean of channels": lambda x: x.mean(1),
        "mean of all": lambda x: x.mean((1, 2, 3)),
        "sum of columns": lambda x: x.sum(3),
        "amax of both": lambda x: x.amax((2, 3)),
    },
    3: {"hardsigmoid": F.hardsigmoid, "amax": lambda x: x.amax((2, 4))},
}


class Net(nn.Module):
    """A layer, and each function on a result of so many axes; their outputs in one row."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        self.axes = axes
        self.layer = (
            nn.Linear(6, 4) if axes == 0 else (nn.Conv1d if axes == 1 else nn.Conv2d)(3, 4, 1)
        )
        self.shape = {0: (6,), 1: (3, 10)}.get(axes, (3, 4, 6))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = 4 * self.layer(x)
        y = y.unflatten(3, (2, 3)) if self.axes == 3 else y
        return {name: f(y).reshape(y.shape[0], -1) for name, f in FUNCTIONS[self.axes].items()}


@pytest.mark.parametrize("axes", FUNCTIONS)
@torch.no_grad()
def test_functions_compute_in_integers(axes, tmp_path):
    torch.manual_seed(0)
    module = Net(axes).eval()
    x = torch.randn(16, *module.shape)
    sim = calibrate(module, x, target="litert")
    assert sim.coverage.in_float == ()
    runtime = load(export(sim, tmp_path / "net.tflite"), "litert")
    assert computing(runtime.kernels(), "float32") == set()
    wanted, got = IntegerReference(sim)(x), runtime.run(x.numpy())
    assert wanted.keys() == got.keys() == FUNCTIONS[axes].keys()
    far = {name: _steps(torch.from_numpy(got[name]), y) for name, y in wanted.items()}
    # a value halfway between two integers is rounded up by one and to even by the other
    assert {name: steps.max() for name, steps in far.items() if steps.max() > 1.01} == {}
    shares = {name: float((steps > 0.5).float().mean()) for name, steps in far.items()}
    assert {name: share for name, share in shares.items() if share > 0.05} == {}


def _steps(got: Tensor, wanted: Tensor) -> Tensor:
    """Return how far values are apart, in steps of the wanted ones' scale."""
    between = wanted.unique().diff()
    return (got - wanted).abs() / between[between > 1e-6].min()


class Two(nn.Module):
    """Results of two layers, of different scales, that one operator joins in front of another."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor], channels: int = 4) -> None:
        super().__init__()
        self.a, self.b, self.join = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), join
        self.c = nn.Conv2d(channels, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.join(self.a(x), 2.3 * self.b(x)))


@pytest.mark.parametrize(
    ("join", "channels"),
    [
        (torch.maximum, 4),
        (lambda a, b: torch.minimum(F.hardsigmoid(a), b), 4),
        (lambda a, b: torch.cat([torch.tanh(a), b], 1), 8),
        (lambda a, b: torch.cat([F.hardsigmoid(a), b], 1), 8),
    ],
    ids=["maximum", "minimum-of-hardsigmoid", "cat-of-tanh", "cat-of-hardsigmoid"],
)
@torch.no_grad()
def test_operands_of_other_scales_compute_as_simulated(join, channels, tmp_path):
    torch.manual_seed(0)
    module, x = Two(join, channels).eval(), torch.randn(64, 3, 6, 6)
    sim = calibrate(module, x, target="litert")
    assert sim.coverage.in_float == ()
    runtime = load(export(sim, tmp_path / "net.tflite"), "litert")
    found = verify(sim, runtime, x)
    assert found.passed, str(found)


class Tokens(nn.Module):
    """A vision transformer in small: a class token, a probe, attention by parts of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.qkv, self.head = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 24), nn.Linear(8, 3)
        self.cls, self.probe = (
            nn.Parameter(torch.randn(1, 1, 8)),
            nn.Parameter(torch.randn(1, 1, 8)),
        )

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(x.shape[0], 1, -1), tokens], 1)
        tokens = torch.cat([tokens, self.probe.repeat(x.shape[0], 1, 1)], 1)
        q, k, v = self.qkv(tokens).reshape(x.shape[0], -1, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head(F.gelu(tokens + mixed)[:, 0])


@torch.no_grad()
def test_tokens_are_added_to_any_number_of_samples(tmp_path):
    torch.manual_seed(0)
    module, x = Tokens().eval(), torch.randn(50, 3, 8, 8)
    sim = calibrate(module, x, target="litert")
    reasons = {op.op: op.reason for op in sim.coverage.in_float}
    assert reasons["softmax"] == "weighs"
    runtime = load(export(sim, tmp_path / "net.tflite"), "litert")
    simulated = sim(x)
    got = torch.from_numpy(runtime.run(x.numpy()))
    assert sqnr_db(simulated, got) > sqnr_db(module(x), simulated) + 10
    ones = [torch.from_numpy(runtime.run(one.numpy())) for one in x[:5].split(1)]
    assert torch.equal(torch.cat(ones), got[:5])
