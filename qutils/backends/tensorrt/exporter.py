"""Reference graph -> ONNX in QDQ form as TensorRT wants it: int8 around 0, float biases."""

from __future__ import annotations

from pathlib import Path

from onnx import GraphProto

from qutils.backends.shared.onnx_writer import save, to_onnx
from qutils.backends.tensorrt.rules import SLOWER, check
from qutils.errors import UnsupportedError
from qutils.quantize.convert import convert
from qutils.quantize.simulate import SimulatedModel


def export_tensorrt(sim: SimulatedModel, path: Path) -> Path:
    """Write a simulated model as an ONNX file that TensorRT builds in integers.

    The rules of ``tensorrt.rules`` hold for what is written; ``tensorrt.engine.build`` makes an
    engine of it. ONNX Runtime computes what is simulated, in float, if its optimizer is off or
    ``WeightBiasQuantization``, which rounds biases to int32 unasked, is disabled.

    Raises:
        UnsupportedError: the target has no kernel for the recipe, an operator no translation, or
            the graph breaks a rule.
        DataError: the folder cannot be written.
    Source: NVIDIA, "Explicit Quantization" (TensorRT documentation).
    """
    sim.target.require_kernels(sim.recipe)
    sim.captured.signature.require_single()
    sim.captured.signature.require_fixed()
    model = to_onnx(convert(sim), sim.captured.signature, rewrite=_as_it_is)
    broken = [violation for violation in check(model) if violation.rule not in SLOWER]
    if broken:
        raise UnsupportedError(
            f"TensorRT would not run this network in integers as it is. {broken[0]}"
            + (f" ({len(broken) - 1} more)" if len(broken) > 1 else "")
        )
    return save(model, path)


def _as_it_is(graph: GraphProto) -> None:
    """What ONNX Runtime needs rewritten, TensorRT takes: padding and ReLUs between Q/DQ."""
