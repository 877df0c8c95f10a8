"""Bytes of a setting, estimated from its bits; what a file really takes, ``bench.size_of`` says."""

from __future__ import annotations

from dataclasses import dataclass

from qutils.graph.capture import parameters_of
from qutils.quantize.simulate import SimulatedModel

_FLOAT, _INT32, _ZERO_POINT = 4, 4, 1  # bytes


@dataclass(frozen=True)
class EstimatedSize:
    """Estimated bytes of a model's numbers; no graph, no names, no padding.

    Weights are packed: ``ceil(bits * values / 8)`` a tensor, which no file format used here does
    for 3, 5, 6 or 7 bits.
    """

    weight_bytes: int
    bias_bytes: int  # int32 (float32, as long, beside weights per group)
    qparam_bytes: int  # float32 scales, 1-byte zero points of affine quantizers
    other_bytes: int  # parameters that stay float32
    float_bytes: int  # all parameters as float32

    @property
    def total_bytes(self) -> int:
        """All but ``float_bytes``, which is the model before."""
        return self.weight_bytes + self.bias_bytes + self.qparam_bytes + self.other_bytes

    @property
    def ratio(self) -> float:
        """How many times smaller than float32."""
        return self.float_bytes / self.total_bytes if self.total_bytes else float("nan")


def estimated_size(sim: SimulatedModel) -> EstimatedSize:
    """Add up weights, biases, scales and zero points of a simulated model [bytes, estimated]."""
    tensors = parameters_of(sim.captured.module)
    paths = {n.name: str(n.target) for n in sim.captured.module.graph.nodes if n.op == "get_attr"}
    quantizers = sim.quantizers.values()
    bits_of = {quantizer.site.node: quantizer.scheme.bits for quantizer in quantizers}
    quantized = {paths[node]: bits for node, bits in bits_of.items() if node in paths}
    biases = {paths[bias.node] for bias in sim.placement.biases} - quantized.keys()
    counts = {path: tensor.numel() for path, tensor in tensors.items()}
    rest = set(counts) - quantized.keys() - biases
    return EstimatedSize(
        weight_bytes=sum(-(-bits * counts[path] // 8) for path, bits in quantized.items()),
        bias_bytes=sum(_INT32 * counts[path] for path in biases),
        qparam_bytes=sum(
            quantizer.scale.numel() * (_FLOAT + (0 if quantizer.scheme.symmetric else _ZERO_POINT))
            for quantizer in quantizers
        ),
        other_bytes=sum(_FLOAT * counts[path] for path in rest),
        float_bytes=sum(_FLOAT * count for count in counts.values()),
    )
