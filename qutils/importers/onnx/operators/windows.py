"""Windows of convolutions and pools: kernel, stride, dilation and padding as ONNX gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch.nn.functional as F
from torch import nn

from qutils.importers.onnx.call import Call, Function


@dataclass(frozen=True)
class Window:
    """The window of a layer; one number for each axis in space."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @classmethod
    def of(cls, call: Call, kernel: Sequence[int]) -> Window:
        """Return the window of a node; ``auto_pad`` becomes numbers.

        ``SAME_*`` pads by ``(ceil(in / s) - 1) s + (k - 1) d + 1 - in`` in all.
        """
        ones = [1] * len(kernel)
        stride = call.attribute("strides", ones)
        dilation = call.attribute("dilations", ones)
        pads = call.attribute("pads", [0, 0] * len(kernel))
        auto = call.attribute("auto_pad", "NOTSET")
        begin, end = pads[: len(kernel)], pads[len(kernel) :]
        if auto == "VALID":
            begin, end = [0] * len(kernel), [0] * len(kernel)
        elif auto.startswith("SAME"):
            sides = call.sides()
            total = [
                max((-(-side // s) - 1) * s + (k - 1) * d + 1 - side, 0)
                for side, k, s, d in zip(sides, kernel, stride, dilation, strict=True)
            ]
            small, large = [t // 2 for t in total], [t - t // 2 for t in total]
            begin, end = (small, large) if auto == "SAME_UPPER" else (large, small)
        return cls(*(tuple(int(n) for n in v) for v in (kernel, stride, dilation, begin, end)))

    @property
    def axes(self) -> int:
        """Number of axes in space."""
        return len(self.kernel)

    @property
    def is_even(self) -> bool:
        """Whether both sides are padded alike."""
        return self.begin == self.end

    @property
    def pairs(self) -> list[int]:
        """Padding as ``F.pad`` takes it: pairs, from the last axis on."""
        return pairs(self.begin, self.end)

    def padding(self, value: float = 0.0) -> nn.Module | None:
        """Return the padding as a module of its own; None if there is none."""
        if not any(self.pairs):
            return None
        return Function(F.pad, {"pad": self.pairs, "value": value})


def pairs(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """Return paddings of axes as ``F.pad`` takes them.

    >>> pairs([1, 2], [3, 4])
    [2, 4, 1, 3]
    """
    return list(chain.from_iterable(zip(reversed(begin), reversed(end), strict=True)))
