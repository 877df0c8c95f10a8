"""Bias correction: what rounding shifts on average leaves the layer through its bias.

Rounded weights ``w + dw`` move a layer's output by ``dw x``, whose mean is not zero:

    b <- b - E[y_quantized - y_float]        for each output channel, layer after layer
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Interpreter, Node
from tqdm.auto import tqdm

from qutils.errors import InvalidInputError
from qutils.graph import Captured, place, with_own_biases
from qutils.graph.batches import inputs_of
from qutils.graph.nodes import argument, attribute, layer_of, op_name, stored
from qutils.graph.ops import clip_range
from qutils.graph.signature import Batch
from qutils.quantize.ptq.method import Method
from qutils.quantize.simulate import SimulatedModel


def bias_correction(
    sim: SimulatedModel,
    batches: Iterable[Any] | Batch,
    *,
    everywhere: bool = False,
    progress: bool = False,
) -> SimulatedModel:
    """Correct the bias of every layer with weights; returns a new model.

    ``E`` is the mean over pictures and places of the layer's output before its activation, measured
    with all layers before it quantized and corrected. Places where the activation (behind a sum as
    well) lets nothing through do not count: what is shifted there is lost, and pictures are mostly
    background. Layers without a bias get one.

    One pass: a batch runs through both graphs side by side, one float and one simulated forward,
    which takes twice as long as the two alone. Each layer is corrected by the mean of all batches
    so far before the batch goes on. Memory is that of one batch, whatever their number, and one sum
    for each channel. The same batches in the same order give the same biases.

    Args:
        batches: as ``calibrate`` takes them, the same ones say.
        everywhere: average over all places, as published. Without activation there is no
            difference.

    Raises:
        InvalidInputError: not a simulated model, one whose weights are no longer those of its float
            network (QAT), no batches, NaN or Inf in the data, shapes that do not fit.
    Source: Nagel et al. 2019, arXiv:1906.04721, section 4.2 and appendix D; Nagel et al. 2021,
        section 3.2. Counting only what passes is ours: it minimizes the squared error behind the
        activation to first order.

    >>> from qutils.quantize.calibration import calibrate
    >>> layer, x = torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.rand(32, 4)
    >>> sim = bias_correction(calibrate(layer, x), x)
    >>> bool((sim(x) - layer(x)).mean(0).abs().max() < 1e-4)
    True
    """
    _check(sim)
    corrected = _writable(sim)
    layers = {layer.node: layer for layer in _layers(corrected, everywhere)}
    means = {name: _Mean(corrected, layer) for name, layer in layers.items()}
    pictures = 0
    with tqdm(desc="bias correction", unit=" inputs", disable=not progress) as bar:
        for x in inputs_of(batches):
            given = corrected.captured.signature.arguments(x)
            if not all(torch.isfinite(tensor).all() for tensor in given):
                raise InvalidInputError("the calibration data holds NaN or Inf: look for them")
            _Corrector(corrected, layers, means, _Ahead(corrected.captured, layers, given)).run(
                *given
            )
            pictures += corrected.captured.signature.samples(given)
            bar.update(corrected.captured.signature.samples(given))
    if not pictures:
        raise InvalidInputError("the calibration set is empty: give at least one batch of pictures")
    corrected.fit_biases()
    return corrected


def _check(sim: SimulatedModel) -> None:
    if not isinstance(sim, SimulatedModel):
        raise InvalidInputError(
            f"bias correction takes a simulated model, got {type(sim).__name__}: make one with "
            "q.calibrate(model, batches)"
        )
    for site in sim.placement.sites.values():
        if site.role != "weight":
            continue
        ours, floats = (stored(m, site.node) for m in (sim.graph_module, sim.captured.module))
        if not torch.equal(ours, floats):
            raise InvalidInputError(
                f"{site.name} is not what it is in the float network: correct biases before QAT, "
                "or load the model with the float weights that it was calibrated from"
            )


def _writable(sim: SimulatedModel) -> SimulatedModel:
    """A copy in which every layer with weights has a bias of its own."""
    captured = with_own_biases(sim.captured, sim.target)
    if captured is sim.captured:
        return sim.copy()
    placement = place(
        captured.module,
        sim.target,
        keep_float=sim.placement.keep_float,
    )
    quantizers = copy.deepcopy(sim.quantizers)
    result = SimulatedModel(captured, placement, sim.target, sim.recipe, quantizers, sim.samples)
    result.graph_module.load_state_dict(sim.graph_module.state_dict(), strict=False)
    result.curve = sim.curve
    result.fit_biases()
    return result.requires_grad_(False).eval()


@dataclass(frozen=True)
class _Layer:
    """One layer to correct: its node, its bias's path, the axis of its channels.

    A place counts where the value of node ``gate`` lies between ``low`` and ``high``.
    """

    name: str
    node: str
    bias: str
    axis: int
    gate: str
    low: float
    high: float


def _layers(sim: SimulatedModel, everywhere: bool) -> list[_Layer]:
    found = []
    for node in sim.captured.module.graph.nodes:
        bias = argument(node, 2)
        if op_name(node) not in sim.target.weighted or not isinstance(bias, Node):
            continue
        if bias.op != "get_attr" or node.args[1].name not in sim.placement.sites:
            continue
        gate, low, high = (node, -math.inf, math.inf) if everywhere else _gate(node)
        axis = -1 if op_name(node) == "linear" else 1
        path = str(bias.target)
        found.append(_Layer(layer_of(node), node.name, path, axis, gate.name, low, high))
    return found


def _gate(layer: Node) -> tuple[Node, float, float]:
    """The value that an activation clips, the layer's or a sum of it, and the range it keeps."""
    node = layer
    while len(node.users) == 1:
        user = next(iter(node.users))
        low, high = clip_range(user)
        if math.isfinite(low) or math.isfinite(high):
            return node, low, high
        if op_name(user) != "add" or user.meta["val"].shape[1:] != layer.meta["val"].shape[1:]:
            break
        node = user
    return layer, -math.inf, math.inf


class _Mean:
    """The running mean of one layer's shift ``[C]`` in float64, and the bias that it leaves."""

    def __init__(self, sim: SimulatedModel, layer: _Layer) -> None:
        self.name = layer.name
        self.bias: Tensor = attribute(sim.graph_module, layer.bias).data
        self.start = self.bias.double()
        self.shift = torch.zeros_like(self.start)
        self.count = torch.zeros_like(self.start)

    def add(self, total: Tensor, count: Tensor, rounded: Tensor) -> None:
        """Take in ``total [C]``, the sum over ``count [C]`` places of what is shifted still.

        As the correction so far is in it, ``shift <- shift + total / count of all`` is the mean.
        What rounding the bias to ``rounded [C]`` moved is no part of it: it is rounded again.
        """
        if not torch.isfinite(total).all():
            raise InvalidInputError(
                f"{self.name} holds NaN or Inf: look for them in the calibration data and weights"
            )
        total = total - (rounded.double() - self.bias) * count
        self.count += count
        self.shift += total / self.count.clamp(min=1)
        self.bias.copy_(self.start - self.shift)


class _Ahead(Interpreter):
    """The float graph on one batch, run just as far as the quantized one needs it."""

    def __init__(
        self, captured: Captured, layers: dict[str, _Layer], given: tuple[Tensor, ...]
    ) -> None:
        super().__init__(captured.module)
        self.env, self.args_iter = {}, iter(given)
        self._left = iter(captured.module.graph.nodes)
        self._layers = layers
        self._gated: dict[str, list[_Layer]] = {}
        for layer in layers.values():
            self._gated.setdefault(layer.gate, []).append(layer)
        self._outputs: dict[str, Tensor] = {}
        self._passes: dict[str, Tensor | None] = {}

    def take(self, layer: _Layer) -> tuple[Tensor, Tensor | None]:
        """The layer's output, and at which of its places it counts (None: at all)."""
        while layer.node not in self._passes:
            self._step(next(self._left))
        return self._outputs.pop(layer.node), self._passes.pop(layer.node)

    def _step(self, node: Node) -> None:
        value = self.env[node] = self.run_node(node)
        if node.name in self._layers:
            self._outputs[node.name] = value
        for layer in self._gated.get(node.name, ()):
            everywhere = math.isinf(layer.low) and math.isinf(layer.high)
            inside = None if everywhere else (value > layer.low) & (value < layer.high)
            self._passes[layer.node] = inside
        for read in self.user_to_last_uses.get(node, ()):
            del self.env[read]


class _Corrector(Interpreter):
    """Runs the simulated graph on one batch and corrects each layer before its output goes on."""

    def __init__(
        self,
        sim: SimulatedModel,
        layers: dict[str, _Layer],
        means: dict[str, _Mean],
        ahead: _Ahead,
    ) -> None:
        super().__init__(sim.graph_module)
        self.extra_traceback = False
        self._layers, self._means, self._ahead = layers, means, ahead

    @torch.no_grad()
    def run(self, *args: Any, **kwargs: Any) -> Any:
        return super().run(*args, **kwargs)

    def run_node(self, n: Node) -> Any:
        y = super().run_node(n)
        layer = self._layers.get(n.name)
        if layer is None:
            return y
        exact, passes = self._ahead.take(layer)
        before = self._bias(n)
        self._means[n.name].add(*_summed(y - exact, passes, layer.axis), before)
        moved = self._bias(n) - before
        return y + (moved if layer.axis == -1 else moved.reshape(-1, *[1] * (y.ndim - 2)))

    def _bias(self, n: Node) -> Tensor:
        """The bias as the layer adds it now: on its grid."""
        node: Any = n.args[2]
        if node.op == "get_attr":
            return attribute(self.module, str(node.target)).clone()  # type: ignore[no-any-return]
        stored_bias = attribute(self.module, str(node.args[0].target))
        rounded: Tensor = self.submodules[str(node.target)](stored_bias)
        return rounded.clone()


def _summed(error: Tensor, passes: Tensor | None, axis: int) -> tuple[Tensor, Tensor]:
    """``sum [C]`` of the error at the places that count, float64, and their number ``[C]``."""
    channel = axis % error.ndim
    others = [d for d in range(error.ndim) if d != channel]
    if passes is None:
        total = error.sum(others, dtype=torch.float64)
        return total, torch.full_like(total, error.numel() / error.shape[channel])
    return (error * passes).sum(others, dtype=torch.float64), passes.sum(others).double()


METHOD = Method("bias-correction", "bias correction", bias_correction, rank=10)
