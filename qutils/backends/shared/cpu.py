"""What this CPU can do, as far as integer kernels care."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

#: Flags of instructions that sum products of 8-bit integers in 32 bits, without saturating at 16.
VNNI = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8"})

#: Names of x86 machines, as ``platform.machine`` gives them, in lower case.
X86 = frozenset({"x86_64", "amd64", "i686", "i386", "x86"})

#: Session option of ONNX Runtime that makes CPUs without VNNI sum exactly as well.
EXACT_OPTION = "session.x64quantprecision"


def parse_flags(cpuinfo: str) -> frozenset[str]:
    r"""Instruction set flags in ``/proc/cpuinfo``: ``flags`` on x86, ``Features`` on ARM.

    >>> sorted(parse_flags("model name : X\nflags : fma avx2"))
    ['avx2', 'fma']
    """
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


@cache
def flags() -> frozenset[str]:
    """Instruction set flags of this CPU; empty where the system does not tell."""
    path = Path("/proc/cpuinfo")
    return parse_flags(path.read_text()) if path.is_file() else frozenset()


def saturates(known: frozenset[str] | None = None) -> bool:
    """Whether fast INT8 kernels may add in 16 bits here: AVX2 without VNNI.

    An x86 CPU whose flags the system does not tell (Windows, macOS) may do so.

    >>> saturates(frozenset({"avx2"})), saturates(frozenset({"asimd"}))
    (True, False)
    """
    known = flags() if known is None else known
    if not known:
        return platform.machine().lower() in X86
    return "avx2" in known and not has_vnni(known)


def has_vnni(known: frozenset[str] | None = None) -> bool:
    """Whether the CPU is known to sum 8-bit products exactly (VNNI); unknown counts as no."""
    return bool(VNNI & (flags() if known is None else known))
