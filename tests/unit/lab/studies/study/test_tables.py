"""The table of all numbers of the study."""

import pandas as pd

from qutils.lab.results.results import Check
from qutils.lab.studies.study.tables import headline, summary


def row(method, bits, top1, seed=0, **values):
    return {
        "model": "resnet8", "method": method, "weight_bits": bits[0], "activation_bits": bits[1],
        "observer": "mse", "granularity": "per_channel", "execution": "simulated", "seed": seed,
        "top1": top1, "top1_n": 10_000, "size_bytes": None, "latency_ms_median": None,
    } | values  # fmt: skip


ROWS = [
    *(row("qat", (4, 4), top1, seed) for seed, top1 in enumerate((91.0, 92.0, 93.0))),
    row("ptq", (8, 8), 92.5, execution="integer", size_bytes=2048, latency_ms_median=0.12345),
    row("ptq", (8, 8), 92.25),
    row("fp32", (32, 32), 93.0, None, observer=None, granularity=None, execution="float"),
]


def test_a_row_for_every_setting_from_fp32_to_the_fewest_bits():
    table = summary(pd.DataFrame(ROWS))
    assert list(zip(table["method"], table["bits"], table["execution"], strict=True)) == [
        ("fp32", "W32A32", "float"),
        ("ptq", "W8A8", "integer"),
        ("ptq", "W8A8", "simulated"),
        ("qat", "W4A4", "simulated"),
    ]


def test_seeds_are_averaged_and_their_range_is_told():
    table = summary(pd.DataFrame(ROWS)).set_index("method")
    qat, fp32 = table.loc["qat"], table.loc["fp32"]
    assert (qat["top-1 [%]"], qat["over seeds [%]"], qat["seeds"]) == (92.0, "91.00 to 93.00", 3)
    assert fp32["over seeds [%]"] == ""
    assert pd.isna(fp32["seeds"])


def test_units():
    integer = summary(pd.DataFrame(ROWS)).iloc[1]
    assert (integer["file [KiB]"], integer["latency, batch 1 [ms]"]) == (2.0, 0.123)


def test_headline_figures_have_a_column_of_targets_only_where_there_are_any():
    judged = Check("a: W8A8 PTQ", 0.1, "points lost", 0.2, "<=", "make report", "n", "integer")
    shown = Check("a: W2A8 PTQ", 70.0, "points lost", None, None, "make report", "", "simulated")
    table = headline([judged, shown])
    assert table["value"].tolist() == ["0.1 points lost", "70 points lost"]
    assert table["target"].tolist() == ["≤ 0.2 points lost", ""]
    assert table[""].tolist() == ["met", ""]
    assert "target" not in headline([shown])
