"""ATen's plain recurrent network as ONNX's operator ``RNN``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnxscript

_op: Any = onnxscript.opset18


def rnn_translation(activation: str) -> Callable[..., Any]:
    """Return the translation of ``aten::rnn_tanh`` or ``rnn_relu``.

    ``h_t = act(W x_t + b + R h_(t-1) + c)``, layer after layer, both ways side by side.
    Source: ONNX operator RNN; ``torch.nn.RNN``.
    """

    def translated(
        x: Any, hx: Any, params: Sequence[Any], has_biases: bool, num_layers: int, dropout: float,
        train: bool, bidirectional: bool, batch_first: bool,
    ) -> Any:  # fmt: skip
        ways = 2 if bidirectional else 1
        each = 4 if has_biases else 2
        if batch_first:
            x = _op.Transpose(x, perm=[1, 0, 2])
        ends = []
        for layer in range(num_layers):
            first = layer * ways
            of_layer = [params[(first + way) * each :][:each] for way in range(ways)]
            biases = [_op.Concat(*own[2:], axis=0) for own in of_layer if has_biases]
            y, end = _op.RNN(
                x,
                _stacked([own[0] for own in of_layer]),
                _stacked([own[1] for own in of_layer]),
                _stacked(biases) if biases else None,
                None,
                _op.Slice(hx, [first], [first + ways], [0]),
                activations=[activation] * ways,
                direction="bidirectional" if bidirectional else "forward",
                hidden_size=params[first * each].shape[0],
            )
            # [T, ways, N, H] -> [T, N, ways H]
            x = _op.Reshape(_op.Transpose(y, perm=[0, 2, 1, 3]), [0, 0, -1])
            ends.append(end)
        if batch_first:
            x = _op.Transpose(x, perm=[1, 0, 2])
        return x, ends[0] if len(ends) == 1 else _op.Concat(*ends, axis=0)

    return translated


def _stacked(values: Sequence[Any]) -> Any:
    """Values along a new first axis."""
    rows = [_op.Unsqueeze(value, [0]) for value in values]
    return rows[0] if len(rows) == 1 else _op.Concat(*rows, axis=0)
