"""What the latencies say, in sentences made from the measurement and the CPU's flags."""

from __future__ import annotations

from collections.abc import Sequence

from qutils.backends.shared.cpu import VNNI, flags
from qutils.lab.studies.benchmark.measure import DEFAULT, EXACT, OURS, Score, Timing

_WITH_VNNI = (
    "This CPU has VNNI ({flags}): one instruction multiplies four pairs of bytes a lane and adds "
    "them in 32 bits, exact and fast, so there is one session setting only. Where INT8 gains less "
    "than that promises, the rest of the work decides: quantizing the input, rounding every "
    "result, gathering patches, depthwise filters that multiply little."
)
_WITH_AVX2 = (
    "This CPU has AVX2 but no VNNI. Exact INT8 has to widen bytes to 16 bits before it multiplies: "
    "16 products an instruction, added up by a second one, against 8 multiply-adds in one "
    "instruction of FP32. Nothing is gained in arithmetic, and a quantized convolution also "
    "gathers its patches and rounds every result."
)
_OTHER = (
    "The flags of this CPU name neither AVX2 nor VNNI; which instructions its integer kernels use "
    "is not known here. Saturating kernels are those of AVX2, so there is one session setting only."
)


def against_float(timings: Sequence[Timing], known: frozenset[str] | None = None) -> str:
    """Where INT8 wins against FP32, where it does not, and what about this CPU explains it."""
    lines = [_setting(timings, session) for session in _sessions(timings)]
    return "\n\n".join([*lines, explanation(flags() if known is None else known)])


def _setting(timings: Sequence[Timing], session: str) -> str:
    own = [t for t in timings if t.file == OURS and t.session == session]
    wins = [_phrase(t) for t in own if t.over_float.high < 1]
    losses = [_phrase(t) for t in own if t.over_float.low > 1]
    even = [_phrase(t) for t in own if t.over_float.low <= 1 <= t.over_float.high]
    parts = [
        f"{word} {'; '.join(found)}"
        for word, found in (
            ("INT8 is faster than FP32:", wins),
            ("INT8 is slower than FP32:", losses),
            ("No difference beyond the noise:", even),
        )
        if found
    ]
    return f"**Setting `{session}`.** " + ". ".join(parts) + "."


def _phrase(timing: Timing) -> str:
    ratio = timing.over_float
    return (
        f"{timing.model}, batch {timing.latency.batch}: {ratio.median:.2f} of FP32's time "
        f"({ratio.low:.2f} to {ratio.high:.2f})"
    )


def explanation(known: frozenset[str]) -> str:
    """Why integer kernels are as fast as they are, from the CPU's flags.

    >>> explanation(frozenset({"avx2"}))[:33]
    'This CPU has AVX2 but no VNNI. Ex'
    """
    if found := sorted(VNNI & known):
        return _WITH_VNNI.format(flags=", ".join(found))
    return _WITH_AVX2 if "avx2" in known else _OTHER


def of_exactness(scores: Sequence[Score], timings: Sequence[Timing]) -> str:
    """What exact arithmetic costs in time, and what the fast setting loses in accuracy."""
    if DEFAULT not in _sessions(timings):
        return (
            "Only AVX2 without VNNI has default kernels that saturate; this CPU is another, and "
            "there is nothing to choose."
        )
    lines = []
    for model in dict.fromkeys(score.model for score in scores):
        own = {s.session: s for s in scores if s.model == model and s.file == OURS}
        exact, fast = own[EXACT], own[DEFAULT]
        times = [t for t in timings if (t.model, t.file, t.session) == (model, OURS, DEFAULT)]
        cost = ", ".join(f"{t.over_exact.median:.2f} at batch {t.latency.batch}" for t in times)
        change = fast.accuracy.top1 - exact.accuracy.top1
        lines.append(
            f"- {model}: saturating kernels take {cost} of the exact ones' time; they agree with "
            f"the simulation on {fast.agreement:.2f} % of {fast.accuracy.n:,} pictures (exact: "
            f"{exact.agreement:.2f} %), and top-1 changes by {change:+.2f} points."
        )
    return "\n".join(lines)


def _sessions(timings: Sequence[Timing]) -> list[str]:
    return list(dict.fromkeys(t.session for t in timings if t.file == OURS))
