"""Rows of ``results.json``, and the headline figures with what they have to reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from qutils.lab.results.headlines import TRIAL
from qutils.lab.results.results import Check, Row
from qutils.lab.studies.coverage.plan import OURS, Profile
from qutils.lab.studies.coverage.tables import Found, ratios, tidy

COMMAND = "qutils run notebooks/reports/coverage.ipynb -p profile full"
#: What the whole list has to reach: share that works [%], SQNR [dB], share in integers [%].
WORK, SQNR, SHARE = 97.0, 20.0, 95.0
#: A network may stay this far below the best peer [dB].
BELOW_PEER = 1.0
#: Share of the networks that reach ``SHARE`` [%].
NETWORKS = 90.0


def rows(found: Found, size: Profile) -> list[Row]:
    """Return one row for each architecture and tool, refusals among them (``works`` 0)."""
    frame = tidy(found)
    return [_row(found, size, record) for record in frame.to_dict("records")]


def _row(found: Found, size: Profile, record: dict[Any, Any]) -> Row:
    name, tool = str(record["architecture"]), str(record["tool"])
    figures = found[name].get(tool, {})
    in_torch = tool == "torchao"
    median = found[name].get("latency", {}).get("median_ms", {}).get(tool)
    metrics = {
        "works": float(record["works"]),
        **{key: figures.get(key) for key in ("sqnr_db", "agreement_percent")},
        "latency_over_fp32": ratios(found, name).get(tool),
    }
    if tool == OURS:
        keys = ("simulated_sqnr_db", "file_to_simulation_db", "integer_share", "islands")
        metrics |= {key: figures.get(key) for key in keys}
    return Row(
        model=name,
        dataset="noise",
        method="ptq" if tool == OURS else f"ptq-{tool.replace('_', '')}",
        weight_bits=8,
        activation_bits=8,
        observer="minmax" if tool == OURS else None,
        granularity="per_channel" if tool == OURS else None,
        seed=size.seed,
        execution="simulated" if in_torch else "integer",
        runtime="torch" if in_torch else "onnxruntime",
        size_bytes=figures.get("size_bytes"),
        latency_ms_median=median,
        threads=None if median is None else 1,
        metrics=metrics,
    )


def checks(found: Found, profile: str) -> list[Check]:
    """Return the headline figures of the list; unjudged in the trial profile."""
    made = list(_checks(tidy(found), found))
    return [check.unjudged() if profile == TRIAL else check for check in made]


def _checks(frame: pd.DataFrame, found: Found) -> Iterator[Check]:
    ours = frame[frame["tool"] == OURS]
    n = len(ours)
    yield _check("calibrate and export work", 100 * ours["works"].mean(), n, WORK, "integer")
    by_tool = frame.groupby("tool")["works"].sum()
    most = max((int(by_tool[t]) for t in by_tool.index if t != OURS), default=0)
    lead = float(int(ours["works"].sum()) - most)
    unit = f"architectures, of {n}"
    yield Check(
        "works beyond the best peer", lead, unit, 0.0, ">=", COMMAND, _counts(by_tool), "integer"
    )
    judged = reaches(frame)
    reached = 100 * sum(judged.values()) / max(len(judged), 1)
    yield _check(
        "SQNR of 20 dB, or the best peer's less 1 dB", reached, len(judged), 100.0, "integer"
    )
    shares = [
        steps[OURS]["integer_share"] for steps in found.values() if steps.get(OURS, {}).get("works")
    ]
    enough = 100 * sum(share >= SHARE / 100 for share in shares) / max(len(shares), 1)
    name = "95 % of the multiply-adds in integer kernels"
    yield _check(name, enough, len(shares), NETWORKS, "integer")


def _check(name: str, value: float, n: int, target: float, execution: str) -> Check:
    unit = f"% of {n} architectures"
    return Check(name, float(value), unit, target, ">=", COMMAND, "", execution)


def _counts(by_tool: Any) -> str:
    return ", ".join(f"{tool} {int(count)}" for tool, count in by_tool.items())


def reaches(frame: pd.DataFrame) -> dict[str, bool]:
    """Return whether each network that works reaches 20 dB, or the best peer's SQNR less 1 dB."""
    found = {}
    for name, group in frame.groupby("architecture", sort=False):
        ours = group[(group["tool"] == OURS) & group["works"]]
        peers = group[(group["tool"] != OURS) & group["works"]]["sqnr_db"]
        if ours.empty:
            continue
        value = ours["sqnr_db"].iloc[0]
        exact = value is None or pd.isna(value)  # nothing differs
        best = peers.max() if len(peers) else float("inf")
        found[str(name)] = bool(exact or value >= SQNR or value >= best - BELOW_PEER)
    return found
