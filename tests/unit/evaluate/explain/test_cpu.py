from __future__ import annotations

import pytest

from qutils.evaluate.explain.cpu import offers


@pytest.mark.parametrize(
    ("known", "present", "missing"),
    [
        ({"avx2"}, {"AVX2"}, {"AVX-512", "VNNI", "AMX int8"}),
        ({"avx2", "avx_vnni"}, {"AVX2", "VNNI"}, {"AVX-512", "AMX int8"}),
        (
            {"avx2", "avx512bw", "avx512_vnni", "amx_int8"},
            {"AVX2", "AVX-512", "VNNI", "AMX int8"},
            set(),
        ),
        ({"asimd", "asimddp", "i8mm"}, {"dot product", "i8mm"}, set()),
        ({"fp", "asimd"}, set(), {"dot product", "i8mm"}),
        (set(), set(), set()),
    ],
    ids=["avx2", "avx-vnni", "amx", "arm-i8mm", "arm", "unknown"],
)
def test_what_a_cpu_offers(known, present, missing):
    found = {o.instructions.name: o.present for o in offers(frozenset(known))}
    assert {name for name, has in found.items() if has} == present
    assert {name for name, has in found.items() if not has} == missing
