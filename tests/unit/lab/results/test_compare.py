import json

import pytest

from qutils.errors import DataError
from qutils.lab.results import compare
from qutils.lab.results.compare import figure, proportion_interval
from qutils.lab.results.results import Check
from tests.unit.lab.runner.toy import results, row


def seeded(*values: float, **more: object):
    return [row(seed=seed, top1=value, **more) for seed, value in enumerate(values)]


def only(before, after):
    (change,) = compare.compare(results(*before), results(*after)).changes
    return change


def test_seeds_are_averaged_and_spread():
    made = figure(seeded(90.0, 91.0, 92.0), "top1")
    assert (made.mean, made.spread) == (91.0, 1.0)


def test_one_seed_has_the_interval_of_a_proportion():
    assert figure(seeded(90.0), "top1").spread == pytest.approx(0.588, abs=1e-3)
    assert proportion_interval(100.0, 10) == 0.0


def test_latency_has_its_iqr():
    made = figure([row(latency_ms_median=2.0, latency_ms_iqr=0.25)], "latency_ms_median")
    assert (made.mean, made.spread) == (2.0, 0.25)


def test_unmeasured_has_no_figure():
    assert figure([row()], "size_bytes") is None


@pytest.mark.parametrize(("rise", "beyond"), [(1.0, False), (1.5, True), (-1.5, True)])
def test_change_is_flagged_beyond_the_spread_of_both(rise, beyond):
    change = only(seeded(89.0, 90.0, 91.0), [row(seed=s, top1=90 + rise + s - 1) for s in range(3)])
    assert change.delta == pytest.approx(rise)
    assert change.spread == pytest.approx(2**0.5)
    assert change.beyond is beyond


def test_other_pictures_widen_the_spread():
    before, after = seeded(90.0, 90.0), seeded(91.0, 91.0, top1_n=1000)
    assert only(before, seeded(91.0, 91.0)).beyond
    assert not only(before, after).beyond


def test_any_change_of_size_counts():
    before = [row(top1=None, size_bytes=100)]
    assert only(before, [row(top1=None, size_bytes=101)]).beyond
    assert not only(before, before).beyond


@pytest.mark.parametrize("name", ["model", "weight_bits", "observer", "execution", "threads"])
def test_rows_are_matched_on_their_key(name):
    other = {
        "model": "b",
        "weight_bits": 4,
        "observer": "mse",
        "execution": "integer",
        "threads": 2,
    }
    made = compare.compare(results(row()), results(row(**{name: other[name]})))
    assert made.changes == ()
    assert len(made.added) == len(made.removed) == 1


def test_comparison_round_trips(tmp_path):
    made = compare.compare(results(row()), results(row(top1=80.0), row(model="b")))
    made.save(tmp_path / "changes.json")
    assert compare.load(tmp_path / "changes.json") == made
    assert len(made.beyond) == 1


def test_damaged_comparison_is_refused(tmp_path):
    (tmp_path / "changes.json").write_text("{}")
    with pytest.raises(DataError, match="damaged"):
        compare.load(tmp_path / "changes.json")


def test_damaged_previous_results_are_no_hindrance(tmp_path):
    (tmp_path / "results.json").write_text("{")
    assert compare.with_previous(tmp_path, results()) is None
    assert compare.with_previous(tmp_path / "none", results()) is None


def test_label_reads_well():
    assert compare.label(row()) == "toy ptq W8A8 minmax per_channel simulated torch"


def check(name, value, unit="ratio"):
    return Check(name, value, unit, 1.05, "<=", "make bench")


def test_headline_figures_are_matched_by_name(tmp_path):
    before = results(checks=(check("a", 1.0), check("old", 1.0), check("b", 1.0)))
    after = results(checks=(check("a", 1.2), check("new", 1.0), check("b", 1.0, "%")))
    made = compare.compare(before, after)
    assert made.headlines == (compare.HeadlineChange("a", "ratio", 1.0, 1.2),)
    assert made.headlines[0].delta == pytest.approx(0.2)
    made.save(tmp_path / "changes.json")
    assert compare.load(tmp_path / "changes.json") == made


def test_comparison_of_an_earlier_version_has_no_headlines(tmp_path):
    compare.compare(results(row()), results(row())).save(tmp_path / "changes.json")
    plain = json.loads((tmp_path / "changes.json").read_text())
    del plain["headlines"]
    (tmp_path / "changes.json").write_text(json.dumps(plain))
    assert compare.load(tmp_path / "changes.json").headlines == ()


def test_simulated_row_without_threads_had_one():
    made = compare.compare(results(row(threads=None)), results(row()))
    assert len(made.changes) == 1
