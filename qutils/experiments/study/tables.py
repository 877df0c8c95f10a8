"""From outcomes to rows, data frames and the headline figures a report is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qutils import bench, runtimes, zoo
from qutils.experiments.results import Check, Row
from qutils.experiments.study.plan import Job

Outcomes = Mapping[Job, Mapping[str, Any]]
COMMAND = "make report PROFILE={profile}"


def rows_of(outcomes: Outcomes, repeats: int = 200) -> list[Row]:
    """One row for each number's way of execution: float, simulated, integer.

    Integer and float rows carry the measured size and latency of their file (batch 1, one
    thread); simulated rows have neither. ``agreement_percent`` of an integer row is the share of
    pictures with the prediction of the simulation.
    """
    latencies = _latencies(outcomes, repeats)
    rows = []
    for job, outcome in outcomes.items():
        row = _setting(job)
        if job.method != "fp32":
            rows.append(
                replace(
                    row,
                    execution="simulated",
                    runtime="torch",
                    top1=outcome["top1_simulated"],
                    top1_n=outcome["n"],
                )
            )
        if outcome["file"] is None:
            continue
        measured = latencies[job]
        metrics = {"batch": 1.0}
        if job.method != "fp32":
            metrics["agreement_percent"] = outcome["agreement"]
        rows.append(
            replace(
                row,
                execution="float" if job.method == "fp32" else "integer",
                runtime="onnxruntime",
                top1=outcome["top1_float" if job.method == "fp32" else "top1_integer"],
                top1_n=outcome["n"],
                size_bytes=bench.size_of(Path(outcome["file"])).file_bytes,
                latency_ms_median=measured.median_ms,
                latency_ms_iqr=measured.iqr_ms,
                threads=measured.threads,
                metrics=metrics,
            )
        )
    return rows


def _setting(job: Job) -> Row:
    quantized = job.method != "fp32"
    return Row(
        model=job.model,
        dataset=zoo.entry(job.model).dataset,
        method=job.method,
        weight_bits=job.weight_bits,
        activation_bits=job.activation_bits,
        observer=job.observer if quantized else None,
        granularity=job.granularity if quantized else None,
        seed=job.seed if quantized else None,
        execution="float",
        runtime="torch",
    )


def _latencies(outcomes: Outcomes, repeats: int) -> dict[Job, bench.Latency]:
    """Latency of every file of a model, all files interleaved in one run."""
    measured: dict[Job, bench.Latency] = {}
    for model in dict.fromkeys(job.model for job in outcomes):
        files = {j: o["file"] for j, o in outcomes.items() if j.model == model and o["file"]}
        if not files:
            continue
        loaded = {str(i): runtimes.load(Path(path)) for i, path in enumerate(files.values())}
        batch = np.zeros((1, *zoo.entry(model).input_shape), np.float32)
        found = bench.compare(loaded, batch, repeats=repeats).latencies
        measured |= {job: found[str(i)] for i, job in enumerate(files)}
    return measured


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a data frame, one column a field."""
    return pd.DataFrame([row.to_json() for row in rows])


def curves(outcomes: Outcomes) -> pd.DataFrame:
    """Learning curves of the QAT jobs: model, method, bits, seed, epoch, loss, accuracy [%]."""
    return pd.DataFrame(
        [
            {
                "model": job.model,
                "method": job.method,
                "weight_bits": job.weight_bits,
                "activation_bits": job.activation_bits,
                "seed": job.seed,
                **{name: point[name] for name in ("epoch", "loss", "accuracy")},
            }
            for job, outcome in outcomes.items()
            for point in outcome["curve"]
        ]
    )


def main_curve(df: pd.DataFrame, observer: str, granularity: str) -> pd.DataFrame:
    """The rows of the main observer and granularity, simulated, with FP32."""
    main = (df["observer"] == observer) & (df["granularity"] == granularity)
    return df[(df["method"] == "fp32") | (main & (df["execution"] == "simulated"))]


def comparison(df: pd.DataFrame, first_seed: int) -> pd.DataFrame | None:
    """PTQ rows that compare observers at equal bits, simulated, one seed, with FP32; or None."""
    equal = df["weight_bits"] == df["activation_bits"]
    ptq = (df["method"] == "ptq") & (df["execution"] == "simulated") & (df["seed"] == first_seed)
    compared = df[ptq & equal]
    several = compared.groupby(["weight_bits", "granularity"])["observer"].nunique()
    if compared.empty or several.max() < 2:
        return None
    return pd.concat([df[df["method"] == "fp32"], compared])


def granularity_cost(df: pd.DataFrame, granularity: str = "per_tensor") -> str:
    """One sentence a model: points of top-1 that one scale per tensor costs, minmax, PTQ."""
    lines = []
    minmax = df[(df["method"] == "ptq") & (df["observer"] == "minmax")]
    minmax = minmax[minmax["execution"] == "simulated"]
    for (model, w, a), rows in minmax.groupby(["model", "weight_bits", "activation_bits"]):
        top1 = rows.groupby("granularity")["top1"].mean()
        if {granularity, "per_channel"} <= set(top1.index):
            lines.append(
                f"- {model}, W{w:.0f}A{a:.0f}, minmax: {top1['per_channel']:.2f} % per channel, "
                f"{top1[granularity]:.2f} % per tensor."
            )
    return "\n".join(lines) or "Minmax was not asked for in both granularities."


def summary(df: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of each setting: top-1 [%] and its range, size [KiB], latency [ms]."""
    keys = [
        "model",
        "method",
        "weight_bits",
        "activation_bits",
        "observer",
        "granularity",
        "execution",
    ]
    grouped = df.groupby(keys, dropna=False, sort=False)
    table = grouped.agg(
        seeds=("seed", "nunique"),
        top1=("top1", "mean"),
        lowest=("top1", "min"),
        highest=("top1", "max"),
        n=("top1_n", "first"),
        size=("size_bytes", "mean"),
        latency=("latency_ms_median", "mean"),
    ).reset_index()
    table["size"] = table["size"] / 1024
    names = {
        "top1": "top-1 [%]",
        "lowest": "lowest [%]",
        "highest": "highest [%]",
        "n": "pictures",
        "size": "file [KiB]",
        "latency": "latency, batch 1 [ms]",
    }
    return table.rename(columns=names).round(3)


def checks(df: pd.DataFrame, observer: str, profile: str) -> list[Check]:
    """The headline figures, each with its target, as far as the parameters asked for them."""
    found: list[Check] = []
    for model in df["model"].unique():
        own = df[df["model"] == model]
        fp32 = float(own.loc[own["method"] == "fp32", "top1"].iloc[0])
        found.append(_check(f"{model}: FP32 top-1", fp32, "%", 92.5, ">=", profile))
        found += _integer_checks(model, own, fp32, observer, profile)
        found += _low_bit_checks(model, own, fp32, observer, profile)
    return found


def _integer_checks(
    model: str, own: pd.DataFrame, fp32: float, observer: str, profile: str
) -> list[Check]:
    integer = own[own["execution"] == "integer"]
    main = integer[
        (integer["method"] == "ptq")
        & (integer["granularity"] == "per_channel")
        & (integer["observer"] == observer)
    ]
    if main.empty:
        return []
    loss, agreement = fp32 - main["top1"].mean(), integer["agreement_percent"].min()
    ratio = main["size_bytes"].mean() / own.loc[own["method"] == "fp32", "size_bytes"].iloc[0]
    return [
        _check(
            f"{model}: W8A8 PTQ per channel, integer, points lost",
            loss,
            "points",
            0.2,
            "<=",
            profile,
        ),
        _check(
            f"{model}: same prediction, simulation and INT8 file",
            agreement,
            "%",
            99.9,
            ">=",
            profile,
        ),
        _check(f"{model}: INT8 file of FP32 file", ratio, "ratio", 0.36, "<=", profile),
    ]


def _low_bit_checks(
    model: str, own: pd.DataFrame, fp32: float, observer: str, profile: str
) -> list[Check]:
    four = own[(own["method"] == "qat") & (own["weight_bits"] == 4) & (own["activation_bits"] == 4)]
    if four.empty:
        return []
    note = f"mean of {four['seed'].nunique()} seeds"
    loss = fp32 - four["top1"].mean()
    return [_check(f"{model}: W4A4 QAT, points lost", loss, "points", 1.0, "<=", profile, note)]


def _check(
    name: str, value: float, unit: str, target: float, comparison: str, profile: str, note: str = ""
) -> Check:
    command = COMMAND.format(profile=profile) if profile != "default" else "make report"
    return Check(name, round(float(value), 3), unit, target, comparison, command, note)  # type: ignore[arg-type]
