"""From outcomes to rows and data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qutils import zoo
from qutils.backends import runtimes
from qutils.evaluate import bench
from qutils.lab.results.formats import quantity
from qutils.lab.results.results import Check, Row
from qutils.lab.studies.study.plan import Job

Outcomes = Mapping[Job, Mapping[str, Any]]


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
                    threads=1,  # of every job
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


def headline(checks: Sequence[Check]) -> pd.DataFrame:
    """The headline figures of this run, with their targets where there are any."""
    met = {True: "met", False: "missed", None: ""}
    table = pd.DataFrame(
        {
            "headline figure": check.name,
            "execution": check.execution or "",
            "value": quantity(check.value, check.unit),
            "target": ""
            if check.target is None
            else f"{'≤' if check.comparison == '<=' else '≥'} {quantity(check.target, check.unit)}",
            "": met[check.passed],
            "note": check.note,
        }
        for check in checks
    )
    return table.loc[:, [name for name in table if name == "value" or table[name].any()]]


def summary(df: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of each setting: top-1 [%] and its range, size [KiB], latency [ms].

    By model, from FP32 down to the fewest bits.
    """
    bits = ["weight_bits", "activation_bits"]
    keys = ["model", "method", *bits, "observer", "granularity", "execution"]
    table = (
        df.groupby(keys, dropna=False, sort=False)
        .agg(
            top1=("top1", "mean"),
            lowest=("top1", "min"),
            highest=("top1", "max"),
            seeds=("seed", "nunique"),
            n=("top1_n", "first"),
            size=("size_bytes", "mean"),
            latency=("latency_ms_median", "mean"),
        )
        .reset_index()
    )
    table["size"] = table["size"].astype(float) / 1024
    table["order"] = table["model"].map({m: i for i, m in enumerate(df["model"].unique())})
    by = ["order", *bits, "method", "granularity", "observer", "execution"]
    table = table.sort_values(by, ascending=[True, False, False, *[True] * 4], ignore_index=True)
    written = [f"W{w:.0f}A{a:.0f}" for w, a in zip(*(table[name] for name in bits), strict=True)]
    table.insert(2, "bits", written)
    ends = zip(table["lowest"], table["highest"], table["seeds"], strict=True)
    spans = [f"{low:.2f} to {high:.2f}" if seeds > 1 else "" for low, high, seeds in ends]
    table.insert(list(table).index("top1") + 1, "over seeds [%]", spans)
    table["seeds"] = table["seeds"].where(table["seeds"] > 0)  # FP32 has none
    names = {
        "top1": "top-1 [%]",
        "n": "pictures",
        "size": "file [KiB]",
        "latency": "latency, batch 1 [ms]",
    }
    table = table.drop(columns=["order", "lowest", "highest", *bits]).rename(columns=names)
    return table.round({"top-1 [%]": 2, "file [KiB]": 1, "latency, batch 1 [ms]": 3})
