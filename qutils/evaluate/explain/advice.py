"""What to change: sentences that follow from what was measured, most time first.

A time, or a share or ratio of times, gets a verdict only if its 95 % interval lies on one side of
the bound and the machine was idle. Otherwise a remark says that it cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from qutils.backends.shared.cpu import EXACT_OPTION
from qutils.evaluate.explain.profile import Executed

if TYPE_CHECKING:
    from qutils.evaluate.explain.report import Explanation, Variant

#: Percent of the time below which nothing is said.
WORTH_SAYING = 5.0
#: A layer below this percent of its ceiling leaves time on the table.
FAR = 50.0
#: Channels that kernels take at a time: 16 of 32 bits fill a vector of AVX-512.
LANES = 16
#: The variant whose kernels may saturate.
INEXACT = "exact=False"
#: Milliseconds below which an operator is mostly the cost of calling it.
TINY = 0.005


def advice(found: Explanation) -> tuple[str, ...]:
    """Return what would make the file faster or safer; empty if nothing stands out.

    Only what somebody who has the file, or the network, can change; ``remarks`` has the rest.
    """
    always = (_not_quantized, _overflow)
    timed = (_islands, _conversions, _shapes, _calls, _gains)
    rules = always if found.load.busy else (*always, *timed)
    return tuple(sentence for rule in rules for sentence in rule(found))


def remarks(found: Explanation) -> tuple[str, ...]:
    """Return what explains the times and cannot be changed in the file."""
    idle = (_no_vnni, _gain, _fixed_layouts, _depthwise, _no_gains)
    rules = (_busy, _no_vnni, _unjudged) if found.load.busy else idle
    return tuple(sentence for rule in rules for sentence in rule(found))


def _busy(found: Explanation) -> Iterator[str]:
    if found.load.busy:
        yield (
            f"The machine is too busy to judge times: {found.load}. Whether operators take much "
            "time, and what would take less, cannot be told. Run it again when nothing else runs; "
            "until then do not compare milliseconds or ratios."
        )


def _overflow(found: Explanation) -> Iterator[str]:
    if found.overflowing:
        some = ", ".join(repr(name) for name in found.overflowing[:3])
        more = f" and {len(found.overflowing) - 3} more" if len(found.overflowing) > 3 else ""
        yield (
            f"Weights of {some}{more} can overflow 16 bits where an x86 CPU has no VNNI: a session "
            f'there needs "{EXACT_OPTION}" = "1", or weights limited with --saturation-safe.'
        )


def _not_quantized(found: Explanation) -> Iterator[str]:
    if not found.quantized:
        gain = "" if found.load.busy else f": integers multiply {_gain_of(found)} here, at the most"
        yield f"The file is float throughout. Quantize it (qutils quantize){gain}."


def _gain_of(found: Explanation) -> str:
    return f"{found.roofline.gain:.1f} times as fast"


def _no_vnni(found: Explanation) -> Iterator[str]:
    present = {offer.instructions.name: offer.present for offer in found.offers}
    if not present.get("AVX2") or present.get("VNNI"):
        return
    inexact = next((v for v in found.variants if v.name == INEXACT), None)
    if inexact is None:
        yield "This CPU lacks VNNI, so exact INT8 sums cost more."
    elif found.load.busy or inexact.ratio.high >= 1:
        yield (
            "This CPU lacks VNNI, so exact INT8 sums cost more; how much cannot be told: with "
            f"{INEXACT}, which saturates, {_measured(inexact)}."
        )
    else:
        yield (
            f"This CPU lacks VNNI, so exact INT8 sums cost more: {INEXACT} takes "
            f"{_ratio(inexact)} of the time, and saturates."
        )


def _gain(found: Explanation) -> Iterator[str]:
    """The ceiling: rates are of the fastest of many calls, what the CPU can do undisturbed."""
    if found.roofline.gain < 1.5:
        yield (
            f"Integers multiply only {found.roofline.gain:.2f} times as fast as floats here: INT8 "
            "saves memory on this CPU, hardly time."
        )


def _islands(found: Explanation) -> Iterator[str]:
    """Float operators in a quantized file, one sentence for each reason."""
    if not found.quantized:
        return
    reasons: dict[str, list[Executed]] = {}
    for op in found.float_ops:
        reasons.setdefault(op.reason, []).append(op.executed)
    for reason, ops in reasons.items():
        share = _percent(found, ops)
        if _takes(found, ops, WORTH_SAYING):
            some = ", ".join(f"{one.op} {one.title!r}" for one in ops[:3])
            more = f" and {len(ops) - 3} more" if len(ops) > 3 else ""
            yield f"Float island, {share:.0f} % of the time: {some}{more}: {reason}."


def _conversions(found: Explanation) -> Iterator[str]:
    """Quantizing, dequantizing and changing the layout, if they take much."""
    conversions = [one for one in found.profile.executed if one.kind == "conversion"]
    if not _takes(found, conversions, 2 * WORTH_SAYING):
        return
    by_op: dict[str, list[Executed]] = {}
    for one in conversions:
        by_op.setdefault(one.op, []).append(one)
    for op, ops in by_op.items():
        share = _percent(found, ops)
        if _takes(found, ops, WORTH_SAYING):
            longest = max(ops, key=lambda one: one.milliseconds)
            if op in _LAYOUT and not _between_convolutions(found, ops):
                continue
            mend = _MEND.get(op, "keep values in one form between operators")
            yield (
                f"{len(ops)} {op} take {share:.0f} % of the time, {longest.title!r} the longest: "
                f"{mend}."
            )


def _fixed_layouts(found: Explanation) -> Iterator[str]:
    """Changes of layout at the ends of the network, which nobody can avoid."""
    ops = [one for one in found.profile.executed if one.op in _LAYOUT]
    if _takes(found, ops, 2 * WORTH_SAYING) and not _between_convolutions(found, ops):
        share = _percent(found, ops)
        yield (
            f"{len(ops)} changes of the order of axes take {share:.0f} % of the time, at the ends "
            "of the network: kernels read images channel by channel."
        )


_LAYOUT = ("Transpose", "ReorderInput", "ReorderOutput")


def _between_convolutions(found: Explanation, ops: Sequence[Executed]) -> bool:
    """Return whether one of these is after the first convolution and before the last."""
    executed = found.profile.executed
    places = [i for i, one in enumerate(executed) if one.weight is not None and len(one.weight) > 2]
    inside = executed[places[0] : places[-1]] if places else ()
    return any(one in inside for one in ops)


_MEND = {
    "QuantizeLinear": "quantize what stands in front of them, so that float does not come back",
    "DequantizeLinear": "quantize what reads them, so that float is not needed",
    "Transpose": "operators without a channels-last kernel stand between convolutions; replace "
    "them, or move them to the end",
    "ReorderInput": "operators without a blocked kernel stand between convolutions",
    "ReorderOutput": "operators without a blocked kernel stand between convolutions",
}


def _shapes(found: Explanation) -> Iterator[str]:
    """Slow layers whose channels do not fill the kernel's lanes."""
    ragged = [
        one
        for one in _slow_convolutions(found)
        if not one.depthwise and one.weight and (one.weight[0] % LANES or one.weight[1] % LANES)
    ]
    if _takes(found, ragged, WORTH_SAYING):
        share = _percent(found, ragged)
        some = ", ".join(
            f"{one.title!r} ({one.weight[1]} to {one.weight[0]})"
            for one in ragged[:3]
            if one.weight
        )
        yield (
            f"{share:.0f} % of the time in convolutions below {FAR:.0f} % of their ceiling whose "
            f"channels are no multiples of {LANES}, as the kernel computes them: {some}. Give them "
            "such numbers of channels, where you can train again."
        )


def _depthwise(found: Explanation) -> Iterator[str]:
    slow = [one for one in _slow_convolutions(found) if one.depthwise]
    if _takes(found, slow, WORTH_SAYING):
        yield (
            f"{_percent(found, slow):.0f} % of the time in convolutions of one channel a group "
            f"({len(slow)}): they multiply each value a few times only, and integers gain little "
            "there."
        )


def _slow_convolutions(found: Explanation) -> Iterator[Executed]:
    """Integer convolutions below ``FAR`` percent of their ceiling."""
    for one in found.profile.executed:
        if one.weight is None or one.kind != "integer" or len(one.weight) < 3:
            continue
        if 100 * found.roofline.ceiling_ms(one) < FAR * one.least_ms:
            yield one


def _calls(found: Explanation) -> Iterator[str]:
    tiny = [one for one in found.profile.executed if one.milliseconds <= TINY]
    if _takes(found, tiny, 4 * WORTH_SAYING):
        yield (
            f"{len(tiny)} of {len(found.profile.executed)} operators take {1e3 * TINY:.0f} us or "
            f"less, together {_percent(found, tiny):.0f} % of the time: calling them costs more "
            "than computing, in INT8 as in float. Use larger batches."
        )


def _gains(found: Explanation) -> Iterator[str]:
    """Settings that were measured to take less time."""
    for variant in found.variants:
        if variant.name != INEXACT and variant.ratio.high < 1 - WORTH_SAYING / 100:
            yield f"Measured with {variant.name}: {_measured(variant)}."


def _no_gains(found: Explanation) -> Iterator[str]:
    """Settings that were measured to gain nothing, or of which it cannot be told."""
    least = 1 - WORTH_SAYING / 100
    for variant in found.variants:
        if variant.name == INEXACT or variant.ratio.high < least:
            continue
        verdict = "no gain" if variant.ratio.low >= least else "whether it gains cannot be told"
        yield f"Measured with {variant.name}: {_measured(variant)}; {verdict}."


def _unjudged(found: Explanation) -> Iterator[str]:
    for variant in found.variants:
        if variant.name != INEXACT:
            yield f"Measured with {variant.name}, not to be judged: {_measured(variant)}."


def _measured(variant: Variant) -> str:
    return (
        f"{variant.milliseconds:.3g} ms a sample (IQR {variant.iqr_ms:.2g} ms), "
        f"{_ratio(variant)} of the time"
    )


def _ratio(variant: Variant) -> str:
    ratio = variant.ratio
    return f"{ratio.median:.2f} (95 % interval {ratio.low:.2f} to {ratio.high:.2f})"


def _takes(found: Explanation, ops: Sequence[Executed], percent: float) -> bool:
    """Whether operators take at least this share of the time, as far as it can be told."""
    return 100 * found.profile.part(ops).low >= percent


def _percent(found: Explanation, ops: Sequence[Executed]) -> float:
    """The operators' share of the time, the median over runs [percent]."""
    return 100 * found.profile.part(ops).median
