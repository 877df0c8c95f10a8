"""What integer kernels compute, operator by operator; KERNELS.

The order of float operations decides the last bit. It is ONNX Runtime's on x86 (MLAS): every
formula is equal to its kernels in every integer (see the tests). The formulas are those of the
operators' records (``graph.ops``).
"""

from __future__ import annotations

from qutils.graph.ops import OPS, Kernel, names
from qutils.graph.ops.rounding import of_value
from qutils.numerics.exact.values import Quantized, Unrounded

#: The layers whose third argument is a bias, int32 or float.
BIASED = names("weighted")
KERNELS: dict[str, Kernel] = {
    name: spec.kernel for name, spec in OPS.items() if spec.kernel is not None
}


def taken_in(a: Quantized | Unrounded, b: Quantized | Unrounded) -> Unrounded:
    """``qy = round((a + b) / sy) + zy`` where a layer adds in float before it rounds.

    Source: oneDNN, ``post_ops.append_sum``; OpenVINO fuses convolution and sum.
    """
    return of_value(a.value() + b.value())
