from __future__ import annotations

import pytest

from qutils.backends.shared.cpu import has_vnni, parse_flags, saturates

X86 = "processor : 0\nflags : fpu avx2 avx512_vnni\n\nprocessor : 1\nflags : fpu\n"
ARM = "processor : 0\nFeatures : fp asimd asimddp\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86, {"fpu", "avx2", "avx512_vnni"}),
        (ARM, {"fp", "asimd", "asimddp"}),
        ("nothing known", set()),
    ],
    ids=["x86", "arm", "unknown"],
)
def test_flags_of_the_first_processor(text, expected):
    assert parse_flags(text) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"avx2", "avx512f"}, False),
        ({"avx512_vnni"}, True),
        ({"avx2", "avx_vnni"}, True),
        (set(), False),
    ],
    ids=["avx512-without", "avx512-with", "avx2-with", "unknown"],
)
def test_vnni(known, expected):
    assert has_vnni(frozenset(known)) is expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"avx2"}, True),
        ({"avx2", "avx512f"}, True),
        ({"avx2", "avx_vnni"}, False),
        ({"asimd", "asimddp"}, False),
    ],
    ids=["avx2", "avx512", "vnni", "arm"],
)
def test_only_avx2_without_vnni_saturates(known, expected):
    assert saturates(frozenset(known)) is expected


@pytest.mark.parametrize(("machine", "expected"), [("AMD64", True), ("arm64", False)])
def test_an_x86_cpu_that_tells_no_flags_may_saturate(monkeypatch, machine, expected):
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert saturates(frozenset()) is expected
