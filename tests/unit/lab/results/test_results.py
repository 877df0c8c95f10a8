import json
import math

import pytest

from qutils.errors import DataError, InvalidInputError
from qutils.lab.results.results import COLUMNS, Check, Row, load
from tests.unit.lab.runner.toy import results, row

CHECK = Check("FP32", 92.6, "%", 92.5, ">=", "make report", "both models")


def test_file_round_trips(tmp_path):
    made = results(
        row(map50_95=0.5, sqnr_db=None), row(method="fp32", observer=None), checks=(CHECK,)
    )
    made.save(tmp_path / "r.json")
    assert load(tmp_path / "r.json") == made


def test_metrics_stand_beside_the_columns(tmp_path):
    results(row(map50_95=0.5, top1=None, top1_n=None)).save(tmp_path / "r.json")
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["schema"] == 1
    assert document["rows"][0]["map50_95"] == 0.5
    assert set(document["rows"][0]) == {*COLUMNS, "map50_95"}
    assert document["rows"][0]["top1"] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""),
        ("method", "int8"),
        ("method", "PTQ"),
        ("granularity", "channel"),
        ("execution", "measured"),
        ("runtime", None),
        ("top1", 101),
        ("top1", math.nan),
        ("top1", "92"),
        ("top1_n", None),
        ("top1_n", 2.5),
        ("weight_bits", 0),
        ("size_bytes", -1),
        ("latency_ms_median", math.inf),
        ("threads", True),
        ("map50_95", math.nan),
        ("Map", 1.0),
    ],
)
def test_bad_value_is_named(name, value):
    with pytest.raises(InvalidInputError, match=name):
        row(**{name: value})


@pytest.mark.parametrize("method", ["fp32", "ptq", "ptq-bias-correction", "qat", "qat-lsq"])
def test_methods_of_the_vocabulary_are_taken(method):
    assert row(method=method).method == method


def test_missing_column_is_named():
    plain = row().to_json()
    del plain["seed"], plain["runtime"]
    with pytest.raises(InvalidInputError, match="seed, runtime"):
        Row.from_json(plain)


@pytest.mark.parametrize(
    ("value", "comparison", "passed"),
    [(92.5, ">=", True), (92.4, ">=", False), (92.5, "<=", True), (92.6, "<=", False)],
)
def test_check_compares_with_its_target(value, comparison, passed):
    assert Check("a", value, "%", 92.5, comparison, "make report").passed is passed


def test_check_without_target_has_no_verdict(tmp_path):
    shown = Check("a", 9.0, "%", None, None, "make report")
    assert shown.passed is None
    made = results(checks=(CHECK, shown, Check("b", 1.0, "%", 2.0, ">=", "make report")))
    made.save(tmp_path / "r.json")
    assert load(tmp_path / "r.json") == made
    assert (made.passed, made.targets) == (1, 2)


@pytest.mark.parametrize(("target", "comparison"), [(None, ">="), (1.0, None), (1.0, "<")])
def test_check_with_half_a_target_is_refused(target, comparison):
    with pytest.raises(InvalidInputError, match=r"target is|comparison is"):
        Check("a", 1.0, "%", target, comparison, "make report")


def test_check_with_a_false_verdict_is_refused():
    with pytest.raises(InvalidInputError, match="it is not"):
        Check.from_json({**CHECK.to_json(), "passed": False})


def test_check_without_a_value_is_refused():
    with pytest.raises(InvalidInputError, match="value"):
        Check("a", math.nan, "%", 92.5, ">=", "make report")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "schema 1"),
        ('{"schema": 2}', "schema 1"),
        ('{"schema": 1}', "provenance"),
    ],
)
def test_unusable_file_is_refused(tmp_path, content, message):
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        load(path)


def test_bad_row_of_a_file_is_located(tmp_path):
    results(row(), row(seed=1)).save(tmp_path / "r.json")
    document = json.loads((tmp_path / "r.json").read_text())
    document["rows"][1]["execution"] = "guessed"
    (tmp_path / "r.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"rows\[1\].*execution"):
        load(tmp_path / "r.json")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="r.json is missing"):
        load(tmp_path / "r.json")


def test_execution_of_a_check_is_one_of_a_few_words_and_may_be_missing():
    plain = CHECK.to_json()
    assert Check.from_json({**plain, "execution": "simulated"}).execution == "simulated"
    del plain["execution"]
    assert Check.from_json(plain).execution is None
    with pytest.raises(InvalidInputError, match="execution is 'guessed'"):
        Check.from_json({**plain, "execution": "guessed"})


def test_points_lost_of_an_earlier_version_are_read_as_those_of_now():
    plain = Check("m: W4A4 QAT", -0.1, "points lost", 1.0, "<=", "make report").to_json()
    earlier = {**plain, "name": "m: W4A4 QAT, points lost", "unit": "points"}
    assert Check.from_json(earlier) == Check.from_json(plain)


def test_a_figure_without_its_target_keeps_its_value():
    shown = CHECK.unjudged()
    assert (shown.value, shown.target, shown.comparison, shown.passed) == (
        CHECK.value, None, None, None,
    )  # fmt: skip
