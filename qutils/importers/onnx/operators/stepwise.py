"""A GRU that resets the state before the matrix product, which PyTorch's layer does after it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StepwiseGRU(nn.GRU):
    """``h' = tanh(W x + b + R (r * h) + c)``, written out step by step.

    Source: operator GRU of ONNX with ``linear_before_reset = 0``; Cho et al. 2014, equation 8.
    """

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        ways = ["l0", "l0_reverse"] if self.bidirectional else ["l0"]
        results = []
        for index, suffix in enumerate(ways):
            first = x.new_zeros(x.shape[1], self.hidden_size) if state is None else state[index]
            results.append(self._one_way(x.flip(0) if index else x, first, suffix))
        outputs = [y.flip(0) if index else y for index, (y, _) in enumerate(results)]
        return torch.cat(outputs, -1), torch.stack([last for _, last in results])

    def _one_way(self, x: Tensor, h: Tensor, suffix: str) -> tuple[Tensor, Tensor]:
        size = self.hidden_size
        recurrence: Tensor = getattr(self, f"weight_hh_{suffix}")
        bias: Tensor | None = getattr(self, f"bias_hh_{suffix}", None)
        own = F.linear(
            x, getattr(self, f"weight_ih_{suffix}"), getattr(self, f"bias_ih_{suffix}", None)
        )
        gates_bias = None if bias is None else bias[: 2 * size]
        new_bias = None if bias is None else bias[2 * size :]
        steps = []
        for step in own.unbind(0):
            gates = step[:, : 2 * size] + F.linear(h, recurrence[: 2 * size], gates_bias)
            reset, update = torch.sigmoid(gates).chunk(2, -1)
            new = torch.tanh(
                step[:, 2 * size :] + F.linear(reset * h, recurrence[2 * size :], new_bias)
            )
            h = (1 - update) * new + update * h
            steps.append(h)
        return torch.stack(steps), h
