"""What was measured as data frames with units, a row for each architecture or tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from qutils.lab.studies.coverage.plan import OURS, PEERS

Found = Mapping[str, Mapping[str, Mapping[str, Any]]]  # architecture -> step -> figures
FLOAT = "fp32"


def tidy(found: Found) -> pd.DataFrame:
    """Return a row for each architecture and tool: does it work, why not, SQNR, agreement."""
    return pd.DataFrame(
        [
            {
                "architecture": name,
                "library": name.split("/")[0],
                "tool": tool,
                "works": bool(figures["works"]),
                "error": figures.get("error", ""),
                "sqnr_db": figures.get("sqnr_db"),
                "agreement_percent": figures.get("agreement_percent"),
                "size_bytes": figures.get("size_bytes"),
                "over_fp32": ratios(found, name).get(tool),
            }
            for name, steps in found.items()
            for tool, figures in _tools(steps).items()
        ]
    )


def _tools(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The steps that are tools; ours failed if its process did not even start."""
    known = {tool: steps[tool] for tool in (OURS, *PEERS) if tool in steps}
    return known or {OURS: next(iter(steps.values()))}


def ratios(found: Found, name: str) -> Mapping[str, float]:
    """Return the latency of each tool's file over that of FP32."""
    timed: Mapping[str, float] = found[name].get("latency", {}).get("over_fp32", {})
    return timed


def coverage_table(found: Found) -> pd.DataFrame:
    """What runs in integers, and what the file of each architecture computes."""
    return pd.DataFrame([_coverage(name, steps.get(OURS, {})) for name, steps in found.items()])


def _coverage(name: str, ours: Mapping[str, Any]) -> dict[str, object]:
    share = ours.get("integer_share")
    return {
        "architecture": name,
        "result": "works" if ours.get("works") else "refused",
        "multiply-adds in integers [%]": None if share is None else round(100 * share, 1),
        "float islands": ours.get("islands"),
        "operators in float": ", ".join(ours.get("in_float", ())),
        "file, SQNR, measured [dB]": _rounded(ours.get("sqnr_db")),
        "SQNR, simulated [dB]": _rounded(ours.get("simulated_sqnr_db")),
        "file against simulation [dB]": _rounded(ours.get("file_to_simulation_db")),
        "same largest output [%]": _rounded(ours.get("agreement_percent")),
        "SQNR falls most at": ours.get("loses_at", ""),
    }


def sqnr_table(found: Found) -> pd.DataFrame:
    """SQNR of each tool's file [dB], measured; empty where the tool refused or was not run."""
    frame = tidy(found)
    if frame.empty:
        return frame
    wide = frame.pivot(index="architecture", columns="tool", values="sqnr_db")
    order = [tool for tool in (OURS, *PEERS) if tool in wide]
    wide = wide.loc[list(found), order].astype(float).round(1)
    return wide.rename(columns=lambda tool: f"{tool} [dB]").reset_index()


def refused_table(found: Found) -> pd.DataFrame:
    """Every refusal and crash with the message, word for word."""
    frame = tidy(found)
    failed = frame[~frame["works"]]
    return failed[["architecture", "tool", "error"]].rename(columns={"error": "message"})


def latency_table(found: Found) -> pd.DataFrame:
    """Latency of one sample with one thread, and the ratio of each file to FP32."""
    return pd.DataFrame(
        [
            {
                "architecture": name,
                "FP32, median [ms]": round(timed["median_ms"][FLOAT], 3),
                "FP32, IQR [ms]": round(timed["iqr_ms"][FLOAT], 3),
                **{f"{tool} / FP32": round(r, 3) for tool, r in timed["over_fp32"].items()},
                "qutils / quantize_static": _over(timed["over_fp32"], OURS, "quantize_static"),
            }
            for name, steps in found.items()
            if (timed := steps.get("latency", {})).get("over_fp32")
        ]
    )


def _over(timed: Mapping[str, float], one: str, other: str) -> float | None:
    return round(timed[one] / timed[other], 3) if one in timed and other in timed else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
