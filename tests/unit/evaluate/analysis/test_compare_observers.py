import re
from dataclasses import replace

import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import SPECIMENS, compare_observers, error_split, explain
from qutils.numerics import affine
from qutils.numerics.observers import OBSERVERS, qparams_of, range_of, rows_of
from qutils.numerics.schemes import Scheme


@pytest.fixture(scope="module")
def outcomes():
    return compare_observers(SPECIMENS["one_outlier"].rows(), SPECIMENS["one_outlier"].scheme)


def by_name(outcomes):
    return {outcome.observer: outcome for outcome in outcomes}


def test_every_observer_in_order(outcomes):
    assert [o.observer for o in outcomes] == list(OBSERVERS)


@pytest.mark.parametrize("specimen", SPECIMENS.values(), ids=SPECIMENS)
def test_outcomes_are_those_of_the_observers(specimen):
    rows = specimen.rows()
    for outcome in compare_observers(rows, specimen.scheme):
        scheme = replace(specimen.scheme, observer=outcome.observer)
        q = qparams_of(rows, scheme)
        assert torch.equal(outcome.q.scale, q.scale)
        assert torch.equal(outcome.q.zero_point, q.zero_point)
        low, high = range_of(rows, scheme)
        assert outcome.low == pytest.approx(float(low.clamp(max=0)), abs=float(q.scale))
        assert outcome.high == pytest.approx(float(high.clamp(min=0)), abs=float(q.scale))
        exact = error_split(specimen.tensor(), q)
        assert outcome.sqnr_db == pytest.approx(exact.sqnr_db, abs=0.4)


def test_levels_used_and_wasted(outcomes):
    minmax = by_name(outcomes)["minmax"]
    x = SPECIMENS["one_outlier"].tensor()
    assert minmax.levels == 16
    assert minmax.levels_used == len(affine.quantize(x, minmax.q).unique())
    assert minmax.levels_used + minmax.levels_wasted == 16
    assert minmax.levels_wasted > 10


def test_rows_of_channels_count_all_their_levels():
    weight = torch.randn(5, 400)
    scheme = Scheme(3, True, True, "per_channel")
    outcome = by_name(compare_observers(rows_of(weight, 0), scheme, axis=0))["minmax"]
    assert outcome.levels == 5 * 7
    used = affine.quantize(weight, outcome.q)
    assert outcome.levels_used == sum(len(row.unique()) for row in used)


def test_an_open_scheme_is_refused():
    with pytest.raises(InvalidInputError, match="signed and symmetric"):
        compare_observers(SPECIMENS["uniform"].rows(), Scheme(8))


def said(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"(-?[\d.]+) dB", text)]


def test_outlier_explained(outcomes):
    text = explain(outcomes)
    named = by_name(outcomes)
    assert text.startswith("mse wins with")
    assert "than that of minmax" in text
    assert f"{named['minmax'].levels_wasted} of 16 levels without a value" in text
    assert said(text) == [round(named[n].sqnr_db, 1) for n in ("mse", "minmax")]


def test_far_cluster_explained():
    specimen = SPECIMENS["far_cluster"]
    named = by_name(compare_observers(specimen.rows(), specimen.scheme))
    text = explain([named["minmax"], named["percentile"]])
    assert text.startswith("minmax wins")
    assert "keeps the far values that percentile gives up" in text
    share = 100 * named["percentile"].error.clipped_share
    assert f"clipping {share:.2g} %" in text


def test_no_difference_explained():
    text = explain(compare_observers(SPECIMENS["uniform"].rows(), Scheme(8, False, False)))
    assert text.startswith("All observers agree to 0.1 dB, at 48.")


def test_exact_outcomes_explained():
    rows = rows_of(torch.arange(16.0))
    text = explain(compare_observers(rows, Scheme(4, False, False)))
    assert text.startswith("All observers agree") or "no error at all" in text


def test_equal_winners_are_all_named(outcomes):
    named = by_name(outcomes)
    twin = replace(named["mse"], observer="entropy")
    assert explain([named["mse"], twin, named["minmax"]]).startswith("mse and entropy win with")


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("specimen", SPECIMENS.values(), ids=SPECIMENS)
def test_one_sentence_that_names_the_best(specimen, bits):
    outcomes = compare_observers(specimen.rows(), Scheme(bits, False, False))
    text = explain(outcomes)
    best = max(outcomes, key=lambda o: o.sqnr_db)
    assert text.endswith(".")
    assert text.count("\n") == 0
    assert f"{best.sqnr_db:.1f} dB" in text
    assert not re.search(r"nan|inf|e\+|  |: it clips 0 %|0 % finer", text), text


@pytest.mark.parametrize("bits", [2, 3, 8])
@pytest.mark.parametrize("specimen", SPECIMENS.values(), ids=SPECIMENS)
def test_ranges_are_called_nearly_equal_only_where_they_are(specimen, bits):
    outcomes = compare_observers(specimen.rows(), Scheme(bits, False, False))
    best, *_, worst = sorted(outcomes, key=lambda o: -o.sqnr_db)
    if "nearly equal" in explain(outcomes):
        assert worst.step == pytest.approx(best.step, rel=0.02)


def test_clipping_that_costs_less_than_half_is_named_where_it_makes_the_difference():
    specimen = SPECIMENS["rare_signal"]
    named = by_name(compare_observers(specimen.rows(), Scheme(2, False, False)))
    entropy, mse = named["entropy"].error, named["mse"].error
    assert entropy.clipping < entropy.rounding
    assert entropy.clipping - mse.clipping > entropy.rounding - mse.rounding
    assert "keeps the far values that entropy gives up" in explain(list(named.values()))


def test_nothing_to_explain():
    with pytest.raises(InvalidInputError, match="nothing to explain"):
        explain([])
