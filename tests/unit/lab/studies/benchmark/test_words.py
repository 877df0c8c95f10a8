from __future__ import annotations

import pytest

from qutils.lab.studies.benchmark import words


def test_wins_and_losses_are_said_as_measured(measured):
    text = words.against_float(measured.files.timings, frozenset({"avx2"}))
    exact, default, why = text.split("\n\n")
    assert "`exact`" in exact
    assert "slower than FP32: resnet8, batch 1: 1.20" in exact
    assert "faster" not in exact
    assert "`default`" in default
    assert "faster than FP32: resnet8, batch 1: 0.80" in default
    assert "AVX2 but no VNNI" in why


@pytest.mark.parametrize(
    ("flags", "phrase"),
    [
        ({"avx2", "avx512_vnni"}, r"VNNI (avx512_vnni)"),
        ({"avx2"}, "no VNNI"),
        ({"asimd"}, "neither AVX2 nor VNNI"),
        (set(), "neither AVX2 nor VNNI"),
    ],
    ids=["vnni", "avx2", "arm", "unknown"],
)
def test_the_cpu_explains(flags, phrase):
    assert phrase in words.explanation(frozenset(flags))


def test_what_saturating_loses(measured):
    text = words.of_exactness(measured.files.scores, measured.files.timings)
    assert "0.70 at batch 1, 0.70 at batch 32" in text
    assert "97.50 % of 2,000 pictures (exact: 100.00 %)" in text
    assert "changes by -1.00 points" in text


def test_with_one_setting_there_is_nothing_to_choose(measured):
    exact = [t for t in measured.files.timings if t.session == "exact"]
    assert "nothing to choose" in words.of_exactness(measured.files.scores, exact)
