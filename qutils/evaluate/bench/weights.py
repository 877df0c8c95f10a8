"""Bytes of quantized weights, three things apart: simulated, stored in a file, packed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from qutils.errors import QutilsError
from qutils.evaluate.analysis.packing import pack, unpack
from qutils.evaluate.bench.size import size_of
from qutils.graph.nodes import stored
from qutils.numerics.affine import quantize
from qutils.quantize.simulate import SimulatedModel


@dataclass(frozen=True)
class WeightSize:
    """Weights of a simulated model; biases, scales and zero points do not count.

    ``simulated_bits`` says how finely values are rounded, and nothing about bytes. ``packed_bytes``
    are those of the integers packed to their bits, which was done and undone; only formats with
    kernels for that width store them so. ``stored_bytes`` are those of an exported file, None where
    there is none: a file of 8-bit kernels holds one integer a byte, whatever was simulated.
    """

    count: int
    simulated_bits: tuple[int, ...]  # the widths in use, lowest first
    float_bytes: int  # as float32
    int8_bytes: int  # one integer a byte
    packed_bytes: int
    stored_bytes: int | None = None

    @property
    def packed_ratio(self) -> float:
        """Packed bytes over float32 bytes; NaN without weights."""
        return self.packed_bytes / self.float_bytes if self.float_bytes else float("nan")

    @property
    def stored_ratio(self) -> float | None:
        """Stored bytes over float32 bytes; None without a file."""
        if self.stored_bytes is None:
            return None
        return self.stored_bytes / self.float_bytes if self.float_bytes else float("nan")

    def __str__(self) -> str:
        bits = " and ".join(map(str, self.simulated_bits))
        file = "no file" if self.stored_bytes is None else f"in the file {self.stored_bytes:,}"
        return (
            f"{self.count:,} weights, simulated {bits} bits; bytes: float32 {self.float_bytes:,}, "
            f"one a byte {self.int8_bytes:,}, packed {self.packed_bytes:,}, {file}"
        )


@torch.no_grad()
def weight_size(sim: SimulatedModel, file: str | Path | None = None) -> WeightSize:
    """Quantize and pack the weights of a simulated model, unpack them, and count bytes.

    Args:
        file: an ONNX or ``.tflite`` file exported from it, whose stored weights are counted.

    Raises:
        DataError: the file is missing, truncated or corrupt.
    """
    count = packed = 0
    widths = set()
    for quantizer in sim.quantizers.values():
        if quantizer.site.role != "weight":
            continue
        q, bits = quantizer.qparams(), quantizer.scheme.bits
        integers = quantize(stored(sim.captured.module, quantizer.site.node), q)
        data = pack(integers, bits)
        if not torch.equal(unpack(data, bits, integers.shape, signed=q.qmin < 0), integers.short()):
            raise QutilsError(f"{quantizer.site.name} did not survive packing to {bits} bits")
        widths.add(bits)
        count, packed = count + integers.numel(), packed + data.numel()
    return WeightSize(
        count=count,
        simulated_bits=tuple(sorted(widths)),
        float_bytes=4 * count,
        int8_bytes=count,
        packed_bytes=packed,
        stored_bytes=None if file is None else size_of(file).weight_bytes,
    )
