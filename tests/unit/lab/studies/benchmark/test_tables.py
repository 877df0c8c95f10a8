from __future__ import annotations

from qutils.lab import figures
from qutils.lab.studies.benchmark import tables
from qutils.lab.studies.benchmark.measure import FLOAT, OURS


def test_parts_of_a_file_sum_to_it(measured):
    table = tables.sizes(measured.files.sizes)
    parts = table[["weights", "biases", "scales", "graph"]].sum(axis=1)
    assert (parts == table["total"]).all()
    ours = table[table["file"] == OURS].iloc[0]
    assert (ours["weight_ratio"], round(ours["file_ratio"], 3)) == (0.25, 0.318)


def test_latency_table_has_ratios_where_they_mean_something(measured):
    table = tables.latency_table(measured.files.timings)
    assert (table["of FP32's time"] == "").equals(table["file"] == FLOAT)
    assert (table["of quantize_static's"] != "").equals(table["file"] == OURS)
    assert table["of quantize_static's"][1] == "0.99 (0.97 to 1.01)"


def test_exactness_table_compares_default_with_exact(measured):
    table = tables.exactness_table(measured.files.scores, measured.files.timings)
    assert set(table["of the exact setting's time"]) == {"", "0.70 (0.68 to 0.72)"}
    assert list(table["same prediction as simulation [%]"]) == ["", "100.00", "", "97.50", ""]


def test_columns_have_units(measured):
    for table in (
        tables.size_table(measured.files.sizes),
        tables.memory_table(measured.memory),
        tables.step_table(measured.steps),
    ):
        assert any("[" in column for column in table.columns)


def test_figures_take_the_tables(measured):
    assert figures.latency_bars(tables.timings(measured.files.timings)).axes
    assert figures.size_bars(tables.sizes(measured.files.sizes)).axes
    assert figures.memory_bars(tables.memory(measured.memory)).axes
    assert figures.step_bars(tables.steps(measured.steps)).axes
