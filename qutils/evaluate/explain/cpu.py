"""What this CPU offers to 8-bit integers, and whether ONNX Runtime has kernels that use it."""

from __future__ import annotations

from dataclasses import dataclass

from qutils.backends.shared.cpu import VNNI, flags


@dataclass(frozen=True)
class Instructions:
    """A family of instructions: the flags that show it, what it does for 8-bit integers."""

    name: str
    flags: frozenset[str]  # any of them
    family: str  # "x86" or "arm"
    does: str


@dataclass(frozen=True)
class Offer:
    """Whether a CPU has a family of instructions."""

    instructions: Instructions
    present: bool


#: What ONNX Runtime's kernels (MLAS) have code for. Source: onnxruntime/core/mlas/lib/platform.cpp.
INSTRUCTIONS = (
    Instructions("AVX2", frozenset({"avx2"}), "x86", "adds pairs of products in 16 bits"),
    Instructions("AVX-512", frozenset({"avx512bw"}), "x86", "the same, twice as wide"),
    Instructions("VNNI", VNNI, "x86", "adds four products in 32 bits, exactly"),
    Instructions("AMX int8", frozenset({"amx_int8"}), "x86", "multiplies tiles of 16 x 64"),
    Instructions("dot product", frozenset({"asimddp"}), "arm", "adds four products in 32 bits"),
    Instructions("i8mm", frozenset({"i8mm"}), "arm", "multiplies 2 x 8 by 8 x 2"),
)


def offers(known: frozenset[str] | None = None) -> tuple[Offer, ...]:
    """Families of this CPU's architecture, each present or missing; empty if unknown.

    >>> [(o.instructions.name, o.present) for o in offers(frozenset({"asimd", "asimddp"}))]
    [('dot product', True), ('i8mm', False)]
    """
    known = flags() if known is None else known
    family = "arm" if "asimd" in known else "x86"
    if not known:
        return ()
    return tuple(Offer(i, bool(i.flags & known)) for i in INSTRUCTIONS if i.family == family)
