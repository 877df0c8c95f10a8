"""What was measured as data frames with units, for figures and for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from qutils.evaluate.bench import CalibrationMemory, Ratio, Size, StepTimes
from qutils.lab.studies.benchmark.measure import DEFAULT, FLOAT, OURS, Score, Timing

KIB = 1024


def timings(measured: Sequence[Timing]) -> pd.DataFrame:
    """A row for each file, session setting and batch: median and IQR [ms], ratios."""
    return pd.DataFrame(
        [
            {
                "model": t.model,
                "batch": t.latency.batch,
                "file": t.file,
                "session": t.session,
                "median_ms": t.latency.median_ms,
                "iqr_ms": t.latency.iqr_ms,
                "over_float": t.over_float.median,
                "calls": t.latency.repeats,
                "threads": t.latency.threads,
            }
            for t in measured
        ]
    )


def latency_table(measured: Sequence[Timing]) -> pd.DataFrame:
    """Latency [ms] of every file, and its ratios with their 95 % intervals."""
    return pd.DataFrame(
        [
            {
                "model": t.model,
                "batch": t.latency.batch,
                "file": t.file,
                "session": "any" if t.file == FLOAT else t.session,
                "median [ms]": round(t.latency.median_ms, 3),
                "IQR [ms]": round(t.latency.iqr_ms, 3),
                "of FP32's time": _interval(t.over_float) if t.file != FLOAT else "",
                "of quantize_static's": _interval(t.over_peer) if t.file == OURS else "",
                "calls": t.latency.repeats,
                "threads": t.latency.threads,
            }
            for t in measured
        ]
    )


def exactness_table(scores: Sequence[Score], measured: Sequence[Timing]) -> pd.DataFrame:
    """Accuracy of every file in every setting [%], and what the setting does to its time."""
    times = {(t.model, t.file, t.session): t.over_exact for t in reversed(measured)}
    return pd.DataFrame(
        [
            {
                "model": s.model,
                "file": s.file,
                "session": "any" if s.file == FLOAT else s.session,
                "top-1 [%]": round(s.accuracy.top1, 2),
                "pictures": s.accuracy.n,
                "same prediction as simulation [%]": ""
                if s.agreement is None
                else f"{s.agreement:.2f}",
                "of the exact setting's time": _interval(times[s.model, s.file, s.session])
                if s.session == DEFAULT
                else "",
            }
            for s in scores
        ]
    )


def sizes(measured: Mapping[tuple[str, str], Size]) -> pd.DataFrame:
    """Bytes of every file by part, and its ratios to the float file of the same model."""
    return pd.DataFrame(
        [
            {
                "model": model,
                "file": file,
                "weights": size.weight_bytes,
                "biases": size.bias_bytes,
                "scales": size.qparam_bytes,
                "graph": size.graph_bytes + size.other_tensor_bytes,
                "total": size.file_bytes,
                "weight_ratio": size.weight_bytes / measured[model, FLOAT].weight_bytes,
                "file_ratio": size.file_bytes / measured[model, FLOAT].file_bytes,
            }
            for (model, file), size in measured.items()
        ]
    )


def size_table(measured: Mapping[tuple[str, str], Size]) -> pd.DataFrame:
    """The same in KiB, with headings."""
    table = sizes(measured)
    parts = ["weights", "biases", "scales", "graph", "total"]
    table[parts] = (table[parts] / KIB).round(1)
    headings = {name: f"{name} [KiB]" for name in parts}
    headings |= {
        "scales": "scales, zero points [KiB]",
        "weight_ratio": "weights of FP32's",
        "file_ratio": "file of FP32's",
    }
    return table.round(3).rename(columns=headings)


def memory(measured: Sequence[CalibrationMemory]) -> pd.DataFrame:
    """Peak memory of calibration [MiB], a row for each model and observer."""
    return pd.DataFrame(
        [
            {
                "model": m.model,
                "observer": m.observer,
                "few": m.pictures[0],
                "many": m.pictures[1],
                "base_mib": m.base_mib,
                "few_mib": m.few_mib,
                "many_mib": m.many_mib,
                "ratio": m.ratio,
                "repeats": m.repeats,
            }
            for m in measured
        ]
    )


def memory_table(measured: Sequence[CalibrationMemory]) -> pd.DataFrame:
    """The same with headings."""
    few, many = measured[0].pictures
    headings = {
        "base_mib": "before calibration [MiB]",
        "few_mib": f"peak, {few:,} pictures [MiB]",
        "many_mib": f"peak, {many:,} pictures [MiB]",
        "repeats": "processes each",
    }
    table = memory(measured).drop(columns=["few", "many"])
    return table.round({"base_mib": 1, "few_mib": 1, "many_mib": 1, "ratio": 3}).rename(
        columns=headings
    )


def steps(measured: Sequence[StepTimes]) -> pd.DataFrame:
    """Time of a training step [ms], two rows a model: FP32 and QAT."""
    return pd.DataFrame(
        [
            {
                "model": s.model,
                "method": method,
                "label": label,
                "median_ms": latency.median_ms,
                "iqr_ms": latency.iqr_ms,
                "ratio": ratio.median if ratio else 1.0,
                "batch": latency.batch,
                "threads": latency.threads,
            }
            for s in measured
            for method, label, latency, ratio in (
                ("fp32", "FP32 training", s.fp32, None),
                ("qat", f"QAT {s.label}", s.qat, s.ratio),
            )
        ]
    )


def step_table(measured: Sequence[StepTimes]) -> pd.DataFrame:
    """The ratio with its 95 % interval, a row for each model."""
    return pd.DataFrame(
        [
            {
                "model": s.model,
                "FP32 step [ms]": round(s.fp32.median_ms, 1),
                "IQR [ms]": round(s.fp32.iqr_ms, 1),
                f"QAT {s.label} step [ms]": round(s.qat.median_ms, 1),
                "IQR of QAT [ms]": round(s.qat.iqr_ms, 1),
                "QAT / FP32": _interval(s.ratio),
                "batch": s.qat.batch,
                "steps": s.qat.repeats,
                "threads": s.qat.threads,
            }
            for s in measured
        ]
    )


def _interval(ratio: Ratio | None) -> str:
    """Median and 95 % interval: ``0.98 (0.97 to 1.01)``."""
    return f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else ""
