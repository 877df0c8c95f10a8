"""An explanation in lines of text; measured and estimated stand in columns of their own."""

from __future__ import annotations

from collections.abc import Iterator

from qutils.evaluate.explain.advice import advice, remarks
from qutils.evaluate.explain.profile import Executed, Profile
from qutils.evaluate.explain.report import Explanation
from qutils.evaluate.explain.roofline import Roofline
from qutils.graph.targets import target

#: So many layers are listed.
LISTED = 12


def lines(found: Explanation) -> list[str]:
    """The whole report, section by section."""
    sections = (_run, _cpu, _operators, _float, _layers, _remarks, _changes)
    return [line for section in sections for line in _spaced(section(found))][:-1]


def _spaced(section: Iterator[str]) -> list[str]:
    """The lines of a section and an empty one; nothing of an empty section."""
    found = list(section)
    return [*found, ""] if found else []


def _run(found: Explanation) -> Iterator[str]:
    yield f"{found.path}: {found.latency}, whole run in ONNX Runtime, measured"
    if found.ratio is not None:
        ratio = found.ratio
        yield (
            f"{ratio.median:.3f} of the float file's time (95 % interval {ratio.low:.3f} to "
            f"{ratio.high:.3f}), measured in turns{_verdict(found)}"
        )
    inside = found.profile.milliseconds
    yield (
        f"operators: {inside:.3g} ms (IQR {found.profile.iqr_ms():.2g} ms), the sum of medians of "
        f"{found.profile.runs} runs under the profiler, measured; at the ceiling "
        f"{found.ceiling_ms:.3g} ms, estimated"
    )


def _verdict(found: Explanation) -> str:
    """Say whether the file is faster than the float file, or that it cannot be told."""
    ratio = found.ratio
    if found.load.busy:
        return "; which is faster cannot be told, the machine is too busy"
    if ratio is not None and ratio.low <= 1 <= ratio.high:
        return "; which is faster cannot be told"
    return ""


def _cpu(found: Explanation) -> Iterator[str]:
    yield "What the CPU offers to 8-bit integers (ONNX Runtime has kernels for each):"
    for offer in found.offers:
        has = "yes" if offer.present else "no"
        yield f"  {offer.instructions.name:<12} {has:<4} {offer.instructions.does}"
    if not found.offers:
        yield "  unknown: the system does not list the CPU's instructions"
    yield f"ONNX Runtime's kernels saturate {target('onnxruntime').pair_sums}"
    roof = found.roofline
    yield f"Ceiling, measured in ONNX Runtime with threads {roof.threads}:"
    yield (
        f"  {roof.int8_per_s / 1e9:.1f} G multiply-adds/s in INT8, {roof.float_per_s / 1e9:.1f} in "
        f"FP32: {roof.gain:.1f} times as fast at the most"
    )
    rates = ", ".join(f"{rate / 1e9:.0f} GB/s at {_size(size)}" for size, rate in roof.bytes_per_s)
    yield f"  copying, read and written: {rates}"


def _operators(found: Explanation) -> Iterator[str]:
    yield "Time by operator type [ms], measured: sum of medians, IQR, share"
    yield from _table(found.profile)
    shares = ", ".join(
        f"{kind} {found.profile.share(kind):.0f} %"
        for kind in ("integer", "float", "conversion", "other")
        if found.profile.share(kind) > 0
    )
    yield f"  {shares}"
    if found.floats is not None:
        yield "The float file, by operator type [ms], measured: sum of medians, IQR, share"
        yield from _table(found.floats)


def _table(profile: Profile) -> Iterator[str]:
    total = profile.milliseconds or 1.0
    for (op, kind), milliseconds in profile.by_op().items():
        count = sum((one.op, one.kind) == (op, kind) for one in profile.executed)
        yield (
            f"  {count:>4} {op:<24} {kind:<10} {milliseconds:>9.4f} "
            f"{profile.iqr_ms(op, kind):>8.4f} {100 * milliseconds / total:>5.1f} %"
        )


def _float(found: Explanation) -> Iterator[str]:
    if not found.quantized or not found.float_ops:
        count = len(found.float_ops)
        yield f"In float: {f'all {count} operators, as the file is' if count else 'no operator'}"
        return
    yield "In float, and why:"
    for op in found.float_ops[:LISTED]:
        one = op.executed
        yield f"  {one.milliseconds:>9.4f} ms  {one.op} {one.title!r}: {op.reason}"
    if len(found.float_ops) > LISTED:
        yield f"  and {len(found.float_ops) - LISTED} more"


def _layers(found: Explanation) -> Iterator[str]:
    longest = sorted(found.profile.executed, key=lambda one: -one.milliseconds)[:LISTED]
    yield "Longest operators:"
    yield (
        f"  {'':<28} {'multiply-adds':>14} {'bytes':>10} {'measured':>10} {'IQR':>8} "
        f"{'estimated':>10} {'reached':>8}"
    )
    yield (
        f"  {'':<28} {'':>14} {'':>10} {'[ms]':>10} {'[ms]':>8} {'[ms]':>10} {'':>8}  "
        "limit at the ceiling"
    )
    for one in longest:
        yield _layer(one, found.roofline)


def _layer(one: Executed, roof: Roofline) -> str:
    ceiling = roof.ceiling_ms(one)
    reached = f"{100 * ceiling / one.milliseconds:.0f} %" if one.milliseconds else "-"
    title = f"{one.op} {one.title}"
    title = title if len(title) <= 28 else title[:27] + "…"
    return (
        f"  {title:<28} {one.multiply_adds:>14,} {one.moved_bytes:>10,} "
        f"{one.milliseconds:>10.4f} {one.iqr_ms:>8.4f} {ceiling:>10.4f} {reached:>8}  "
        f"{roof.bound(one)}"
    )


def _remarks(found: Explanation) -> Iterator[str]:
    said = remarks(found)
    if said:
        yield "What the times say:"
    for sentence in said:
        yield f"  - {sentence}"


def _changes(found: Explanation) -> Iterator[str]:
    said = advice(found)
    yield "What to change:" if said else "What to change: nothing stands out."
    for sentence in said:
        yield f"  - {sentence}"


def _size(size: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size} B"
