"""Rows of ``results.json``, the headline figures, and what they say in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from qutils import zoo
from qutils.evaluate.bench import CalibrationMemory, StepTimes
from qutils.lab.results.headlines import TRIAL
from qutils.lab.results.results import Check, Row
from qutils.lab.studies.benchmark.measure import DEFAULT, EXACT, FLOAT, OURS, PEER, Score, Timing
from qutils.lab.studies.benchmark.runs import FileFigures

COMMAND = "make bench"
#: In the default setting, on a CPU with AVX2 but no VNNI, the same file computes something else.
RUNTIMES = {EXACT: "onnxruntime", DEFAULT: "onnxruntime_saturating"}
_METHODS = {FLOAT: "fp32", OURS: "ptq", PEER: "ptq-quantize-static"}


def rows(
    files: FileFigures, memory: Sequence[CalibrationMemory], steps: Sequence[StepTimes]
) -> list[Row]:
    """One row for each file and session setting, each calibration, each training step.

    The latency of a row is that of the first batch size; the others stand under their own names
    (``latency_ms_median_batch32``).
    """
    return [
        *(_file_row(score, files) for score in files.scores),
        *(_memory_row(found) for found in memory),
        *(row for found in steps for row in _step_rows(found)),
    ]


def _file_row(score: Score, files: FileFigures) -> Row:
    key = (score.model, score.file, score.session)
    own = [t for t in files.timings if (t.model, t.file, t.session) == key]
    first = own[0].latency
    metrics: dict[str, float | None] = {"batch": first.batch}
    if score.agreement is not None:
        metrics["agreement_percent"] = score.agreement
    for timing in own:
        suffix = "" if timing.latency is first else f"_batch{timing.latency.batch}"
        if suffix:
            metrics[f"latency_ms_median{suffix}"] = timing.latency.median_ms
            metrics[f"latency_ms_iqr{suffix}"] = timing.latency.iqr_ms
        metrics[f"latency_over_fp32{suffix}"] = timing.over_float.median
        if score.file == OURS and timing.over_peer is not None:
            metrics[f"latency_over_quantize_static{suffix}"] = timing.over_peer.median
    row = _row(score.model, _METHODS[score.file], 8)
    return replace(
        row,
        observer="minmax" if score.file != FLOAT else None,
        execution="integer" if score.file != FLOAT else "float",
        runtime=RUNTIMES[score.session],
        top1=score.accuracy.top1,
        top1_n=score.accuracy.n,
        size_bytes=files.sizes[score.model, score.file].file_bytes,
        latency_ms_median=first.median_ms,
        latency_ms_iqr=first.iqr_ms,
        threads=first.threads,
        metrics=metrics,
    )


def _memory_row(found: CalibrationMemory) -> Row:
    metrics = {
        "calibration_pictures_few": found.pictures[0],
        "calibration_pictures_many": found.pictures[1],
        "calibration_mib_before": found.base_mib,
        "calibration_mib_few": found.few_mib,
        "calibration_mib_many": found.many_mib,
        "calibration_mib_ratio": found.ratio,
    }
    row = _row(found.model, "ptq", 8)
    return replace(row, observer=found.observer, execution="simulated", threads=1, metrics=metrics)


def _step_rows(found: StepTimes) -> Iterator[Row]:
    for method, latency in (("fp32", found.fp32), ("qat", found.qat)):
        metrics = {
            "batch": latency.batch,
            "step_ms_median": latency.median_ms,
            "step_ms_iqr": latency.iqr_ms,
        }
        if method == "qat":
            metrics["step_over_fp32"] = found.ratio.median
        execution = "float" if method == "fp32" else "simulated"
        row = _row(found.model, method, found.bits)
        yield replace(row, execution=execution, threads=latency.threads, metrics=metrics)


def _row(model: str, method: str, bits: int) -> Row:
    """A row without measurements, run by torch."""
    quantized = method != "fp32"
    return Row(
        model=model,
        dataset=zoo.entry(model).dataset,
        method=method,
        weight_bits=bits if quantized else 32,
        activation_bits=bits if quantized else 32,
        observer="minmax" if quantized else None,
        granularity="per_channel" if quantized else None,
        seed=None,
        execution="simulated" if quantized else "float",
        runtime="torch",
    )


def checks(
    files: FileFigures,
    memory: Sequence[CalibrationMemory],
    steps: Sequence[StepTimes],
    profile: str,
) -> list[Check]:
    """The headline figures of every model, each with its target.

    Times and memory of a trial are shown without: a handful of calls is no measurement.
    """
    sizes, others = _size_checks(files), _other_checks(files, memory, steps)
    return [*sizes, *(c.unjudged() if profile == TRIAL else c for c in others)]


def _size_checks(files: FileFigures) -> Iterator[Check]:
    """Bytes: the same in every profile."""
    for model in dict.fromkeys(model for model, _ in files.sizes):
        ours, fp32 = files.sizes[model, OURS], files.sizes[model, FLOAT]
        weights = ours.weight_bytes / fp32.weight_bytes
        yield _check(f"{model}: INT8 weights, bytes of FP32's", weights, 0.26)
        yield _check(
            f"{model}: INT8 file, bytes of the FP32 file",
            ours.file_bytes / fp32.file_bytes,
            0.36,
            f"{ours.file_bytes:,} of {fp32.file_bytes:,} bytes, graph included",
        )


def _other_checks(
    files: FileFigures, memory: Sequence[CalibrationMemory], steps: Sequence[StepTimes]
) -> Iterator[Check]:
    """Times and memory."""
    for model in dict.fromkeys(model for model, _ in files.sizes):
        yield from _latency_checks(model, files.timings)
    for model in dict.fromkeys(m.model for m in memory):
        yield _memory_check(model, [m for m in memory if m.model == model])
    for step in steps:
        note = f"{step.label}, batch {step.qat.batch}; 95 % interval {step.ratio.low:.2f} to "
        note += f"{step.ratio.high:.2f}"
        yield _check(f"{step.model}: QAT step of FP32 step", step.ratio.median, 2.0, note)


def _latency_checks(model: str, timings: Sequence[Timing]) -> Iterator[Check]:
    """The slower of the session settings counts."""
    own = [t for t in timings if t.model == model and t.file == OURS and t.over_peer is not None]
    for batch in dict.fromkeys(t.latency.batch for t in own):
        ratios = {t.session: t.over_peer for t in own if t.latency.batch == batch and t.over_peer}
        note = "; ".join(
            f"{session}: {r.median:.3f} ({r.low:.3f} to {r.high:.3f})"
            for session, r in ratios.items()
        )
        worst = max(ratio.median for ratio in ratios.values())
        yield _check(
            f"{model}: INT8 latency of quantize_static's, batch {batch}", worst, 1.05, note
        )


def _memory_check(model: str, memory: Sequence[CalibrationMemory]) -> Check:
    worst = max(memory, key=lambda m: m.ratio)
    few, many = worst.pictures
    name = f"{model}: calibration memory, {many:,} pictures of {few:,}"
    note = f"largest of {len(memory)} observers: {worst.observer}"
    return _check(name, worst.ratio, 1.05, note)


def _check(name: str, value: float, target: float, note: str = "") -> Check:
    return Check(name, value, "ratio", target, "<=", COMMAND, note, "measured")
