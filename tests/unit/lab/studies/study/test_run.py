"""Jobs run for real on a few pictures: outcomes, cache, rows, headline figures."""

from dataclasses import replace
from pathlib import Path

import pytest

from qutils import zoo
from qutils.evaluate import bench
from qutils.lab.results.cache import Cache
from qutils.lab.studies.study import plan_jobs, run_jobs, tables
from qutils.lab.studies.study.checks import checks_of
from qutils.lab.studies.study.job import job_key
from qutils.quantize import checkpoint

pytestmark = pytest.mark.slow(reason="trains networks; what surrounds the jobs is tested without")


@pytest.fixture(scope="module")
def asked():
    jobs = plan_jobs(
        ["resnet8"], ["ptq", "qat"], [4, 8], [4, 8], ["minmax"], ["per_channel"], "smoke"
    )
    small = [replace(job, train_pictures=64, test_pictures=64) for job in jobs]
    return [j for j in small if j.weight_bits in (8, 32) or j.method == "ptq"]


@pytest.fixture(scope="module")
def ran(asked, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    first = Cache(folder, refresh=False)
    outcomes = run_jobs(asked, first)
    return outcomes, first, folder


def test_every_job_has_an_outcome_and_was_computed(ran, asked):
    outcomes, cache, _ = ran
    assert list(outcomes) == asked
    assert (cache.hits, cache.misses) == (0, len(asked))


def test_a_second_run_reuses_everything(ran, asked):
    outcomes, _, folder = ran
    again = Cache(folder, refresh=False)
    assert run_jobs(asked, again) == outcomes
    assert (again.hits, again.misses) == (len(asked), 0)


def test_simulation_and_int8_file_predict_the_same(ran):
    outcomes, _, _ = ran
    agreements = [o["agreement"] for o in outcomes.values() if o.get("agreement") is not None]
    assert agreements
    assert min(agreements) == 100


def test_rows_keep_ways_of_execution_apart(ran):
    outcomes, _, _ = ran
    rows = tables.rows_of(outcomes, repeats=5)
    assert {row.execution for row in rows} == {"float", "simulated", "integer"}
    for row in rows:
        assert row.threads == 1
        measured = (row.size_bytes, row.latency_ms_median)
        assert (None in measured) == (row.execution == "simulated")


def test_headline_figures_name_command_and_target(ran):
    outcomes, _, _ = ran
    df = tables.frame(tables.rows_of(outcomes, repeats=5))
    checks = {check.name: check for check in checks_of(df, "minmax", "smoke")}
    assert checks["resnet8: FP32 top-1"].command == "make report PROFILE=smoke"
    assert checks["resnet8: same prediction, simulation and INT8 file"].value == 100


def test_key_follows_setting_and_weights(asked):
    keys = [str(job_key(job)) for job in asked]
    assert len(set(keys)) == len(keys)
    assert "resnet8" in keys[0]


def trained(outcomes):
    return next(job for job in outcomes if job.method == "qat")


def test_the_trained_network_is_kept_and_scores_what_was_reported(ran):
    outcomes, _, _ = ran
    job = trained(outcomes)
    state = Path(outcomes[job]["state"])
    assert {o["state"] is None for j, o in outcomes.items() if j.method != "qat"} == {True}
    blank = zoo.load(job.model, pretrained=False)
    sim = checkpoint.load(state, blank)
    test = zoo.dataset("fashion_mnist").test.take(job.test_pictures)
    found = bench.evaluate(bench.predict_with(sim), ((x.numpy(), y.numpy()) for x, y in test))
    assert found.top1 == outcomes[job]["top1_simulated"]


def test_a_lost_network_is_trained_again(ran):
    outcomes, _, folder = ran
    job = trained(outcomes)
    state = Path(outcomes[job]["state"])
    before = state.read_bytes()
    state.unlink()
    assert run_jobs([job], Cache(folder, refresh=False)) == {job: outcomes[job]}
    assert state.read_bytes() == before
