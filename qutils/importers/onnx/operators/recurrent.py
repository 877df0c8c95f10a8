"""Recurrent layers: LSTM, GRU and RNN with the standard activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qutils.importers.onnx.call import Call, Converter, Made
from qutils.importers.onnx.operators.batches import along_batch
from qutils.importers.onnx.operators.stepwise import StepwiseGRU
from qutils.importers.onnx.values import Value

#: Where PyTorch's gates are among ONNX's: LSTM ifgo in iofc, GRU rzn in zrh.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_KINDS: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


class Recurrent(nn.Module):
    """A recurrent layer with ONNX's results: ``[T, D, N, H]``, D directions, and last states."""

    def __init__(self, layer: nn.Module, directions: int, reverse: bool, batch_first: bool) -> None:
        super().__init__()
        self.layer, self.directions, self.reverse = layer, directions, reverse
        self.batch_first = batch_first

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        if self.batch_first:
            x, states = x.transpose(0, 1), tuple(state.transpose(0, 1) for state in states)
        x = x.flip(0) if self.reverse else x
        given = states[0] if len(states) == 1 else (states or None)
        outputs, last = self.layer(x, given)
        outputs = outputs.flip(0) if self.reverse else outputs
        split = outputs.unflatten(-1, (self.directions, -1)).transpose(1, 2)
        ends = last if isinstance(last, tuple) else (last,)
        if self.batch_first:
            split = split.permute(2, 0, 1, 3)
            ends = tuple(end.transpose(0, 1) for end in ends)
        return (split, *ends)


def _recurrent(call: Call) -> Made:
    weight, recurrence = call.constant(1), call.constant(2)
    directions, hidden = len(weight), recurrence.shape[-1]
    _check(call, directions)
    kind: Any = _KINDS[call.op]
    if call.op == "GRU" and not call.attribute("linear_before_reset", 0):
        kind = StepwiseGRU
    settings: dict[str, Any] = {"bidirectional": directions == 2, "bias": call.has(3)}
    if call.op == "RNN" and b"Relu" in (call.attribute("activations") or []):
        settings["nonlinearity"] = "relu"
    layer = kind(weight.shape[-1], hidden, **settings)
    bias = call.optional(3)
    with torch.no_grad():
        for way in range(directions):
            suffix = "l0_reverse" if way else "l0"
            _copy(layer, f"weight_ih_{suffix}", _reordered(weight[way], call.op))
            _copy(layer, f"weight_hh_{suffix}", _reordered(recurrence[way], call.op))
            if bias is not None:
                own, inner = bias[way].chunk(2)
                _copy(layer, f"bias_ih_{suffix}", _reordered(own, call.op))
                _copy(layer, f"bias_hh_{suffix}", _reordered(inner, call.op))
    reverse = call.attribute("direction", "forward") == "reverse"
    module = Recurrent(layer, directions, reverse, bool(call.attribute("layout", 0)))
    return Made(module, (call.x, *_states(call)))


def _copy(layer: nn.Module, name: str, values: Tensor) -> None:
    parameter: Tensor = getattr(layer, name)
    parameter.copy_(values)


def _reordered(values: Tensor, op: str) -> Tensor:
    """Rows of gates in PyTorch's order."""
    gates = values.chunk(len(_GATES[op]))
    return torch.cat([gates[i] for i in _GATES[op]])


def _states(call: Call) -> list[Value]:
    """First states, if they are given and not zero, copied for every sample."""
    found = [call.operand(i) for i in (5, 6) if call.has(i)]
    if all(v.is_static and not any(probe.any() for probe in v.probes) for v in found):
        return []
    axis = 0 if call.attribute("layout", 0) else 1
    batch = call.x.shape[axis]
    return [
        v if not v.is_static or v.shape[axis] == batch else along_batch(call, v, axis, call.x)
        for v in found
    ]


def _check(call: Call, directions: int) -> None:
    """Refuse what PyTorch's layers do not compute."""
    standard = _ACTIVATIONS[call.op] * directions
    given = [name.decode() for name in call.attribute("activations", [])] or standard
    if given != standard and not (call.op == "RNN" and set(given) == {"Relu"}):
        raise call.refuse(f"its activations {', '.join(given)} are not the usual ones")
    if call.attribute("clip") or call.attribute("input_forget", 0):
        raise call.refuse("clip and input_forget have no counterpart")
    peepholes = call.optional(7) if call.op == "LSTM" else None
    if peepholes is not None and peepholes.any():
        raise call.refuse("peepholes have no counterpart")
    if call.has(4):
        lengths = call.operand(4)
        steps = call.x.shape[1 if call.attribute("layout", 0) else 0]
        if not lengths.is_static or any((probe != steps).any() for probe in lengths.probes):
            raise call.refuse("sequences of different lengths have no counterpart")


RECURRENT: dict[str, Converter] = dict.fromkeys(_KINDS, _recurrent)
