"""Result rows of two models, as a report writes them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest


def row(**changes: Any) -> dict[str, Any]:
    """One result row, W8A8 PTQ in simulation unless told."""
    values = {
        "model": "resnet8",
        "method": "ptq",
        "weight_bits": 8,
        "activation_bits": 8,
        "observer": "mse",
        "granularity": "per_channel",
        "seed": 0,
        "execution": "simulated",
        "top1": 92.0,
        "size_bytes": None,
        "latency_ms_median": None,
        "latency_ms_iqr": None,
        "threads": None,
        "batch": None,
    }
    return {**values, **changes}


MEASURED = {
    "execution": "integer",
    "latency_ms_median": 0.3,
    "latency_ms_iqr": 0.04,
    "threads": 1,
    "batch": 1,
}


def model_rows(model: str, fp32: float) -> list[dict[str, Any]]:
    none = {"weight_bits": None, "activation_bits": None, "observer": None, "granularity": None}
    rows = [
        row(
            **none,
            **{**MEASURED, "execution": "float"},
            model=model,
            method="fp32",
            top1=fp32,
            size_bytes=400 * 1024,
        )
    ]
    for bits, loss in ((8, 0.1), (4, 3.0), (2, 80.0)):
        rows.append(row(model=model, weight_bits=bits, top1=fp32 - loss))
        rows += [
            row(model=model, method="qat", weight_bits=bits, seed=s, top1=fp32 - 0.5 + 0.2 * s)
            for s in range(3)
        ]
    rows.append(row(**MEASURED, model=model, top1=fp32 - 0.2, size_bytes=100 * 1024))
    return rows


@pytest.fixture
def make_row():
    return row


@pytest.fixture
def rows() -> pd.DataFrame:
    """FP32, PTQ and three seeds of QAT at W8, W4 and W2 (PTQ collapses), W8A8 in integers."""
    return pd.DataFrame(model_rows("resnet8", 92.8) + model_rows("mobilenetv2", 92.5))
