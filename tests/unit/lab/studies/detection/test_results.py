"""Checks, tables and words from figures that are made up here: only their arithmetic is tested."""

from dataclasses import replace

import pytest

from qutils.detection.reference import TrainingTime
from qutils.detection.ultralytics import Scores
from qutils.evaluate.bench.latency import Latency, Ratio
from qutils.lab.studies import detection
from qutils.lab.studies.detection import tables, words
from qutils.lab.studies.detection.parts import EVERYTHING, PartError
from qutils.lab.studies.detection.runs import FP32, OURS, THEIRS, Distance, Figures

SIZE = detection.choose("smoke")
LATENCY = Latency(2.0, 0.1, 5, 1, 1)


def figures(maker, map50_95, size_bytes, ratio, runtime="openvino"):
    away = None if maker == FP32 else Distance(0.5, 0.01, 9)
    return Figures(
        "yolo11n",
        runtime,
        maker,
        Scores(map50_95 + 20, map50_95, (map50_95,), 64),
        away,
        size_bytes,
        LATENCY,
        None if maker == FP32 else Ratio(0.6, 0.5, 0.7),
        Ratio(ratio, ratio - 0.01, ratio + 0.01) if maker == OURS else None,
        (("Convolution u8", 3),),
    )


def three(ours=59.5, theirs=58.0, size=260, ratio=1.01, runtime="openvino"):
    return [
        figures(FP32, 60.0, 1000, 0, runtime),
        figures(THEIRS, theirs, 300, 0, runtime),
        figures(OURS, ours, size, ratio, runtime),
    ]


PARTS = [PartError("yolo11n", EVERYTHING, 59.0, 1.0, None)]


def failed(found):
    return [check.name for check in detection.checks(found, (), "full") if check.passed is False]


def test_all_targets_are_reached_by_a_good_file():
    assert failed(three()) == []
    assert len(detection.checks(three(), (), "full")) == 4


@pytest.mark.parametrize(("second", "passed"), [(479.0, True), (481.0, False)])
def test_training_has_a_quarter_of_an_hour(second, passed):
    times = [TrainingTime(420.0, 2), TrainingTime(second, 2)]
    check = detection.checks(three(), times, "full")[-1]
    assert check.name == "yolo11n, training"
    assert check.value == pytest.approx((420 + second) / 60)
    assert check.note.endswith("threads: 2")
    assert check.passed == passed


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"ours": 58.9}, "yolo11n: openvino, INT8 below FP32"),
        ({"theirs": 59.6}, "yolo11n: openvino, above the exporter's INT8"),
        ({"size": 321}, "yolo11n: openvino, file"),
        ({"ratio": 1.06}, "yolo11n: openvino, latency"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_target_can_be_missed(change, name):
    assert failed(three(**change)) == [name]


def test_litert_may_lose_more_and_is_not_held_against_the_exporter_there():
    assert failed(three(ours=58.6, theirs=59.9, runtime="litert")) == []
    assert failed(three(ours=58.4, runtime="litert")) == ["yolo11n: litert, INT8 below FP32"]


def test_a_trial_is_not_judged():
    checks = detection.checks(three(ours=1.0), [TrainingTime(60.0, 2)], "smoke")
    assert {check.passed for check in checks} == {None}


def test_rows_keep_float_integer_and_simulated_apart():
    rows = detection.rows(three(), PARTS, [], SIZE)
    assert [row.execution for row in rows] == ["float", "integer", "integer", "simulated"]
    ours = "ptq-bias-correction"
    assert [row.method for row in rows] == ["fp32", "ptq-ultralytics", ours, "ptq"]
    assert rows[2].metrics["map50_95"] == 59.5
    assert rows[2].metrics["latency_over_exporter"] == 1.01
    assert rows[0].metrics["box_error_px"] is None
    assert all(row.top1 is None for row in rows)


def test_tables_tell_what_was_lost_against_fp32_of_the_same_runtime():
    frame = tables.files([*three(), *three(ours=40.0, runtime="litert")])
    lost = frame.set_index(["runtime", "maker"])["lost"]
    assert lost["openvino", OURS] == pytest.approx(0.5)
    assert lost["litert", OURS] == pytest.approx(20.0)
    read = tables.file_table(three()).iloc[2]
    assert (read["lost [points]"], read["of FP32's"]) == ("+0.50", "0.260")
    assert tables.part_table(PARTS).iloc[0]["box error [pixels]"] == ""


def test_words_name_files_that_are_slower_than_fp32():
    fast = three()
    assert words.of_slow(fast).startswith("No INT8 file")
    slow = [replace(one, over_fp32=Ratio(2.0, 1.9, 2.1)) if one.over_fp32 else one for one in fast]
    assert words.of_slow(slow).count("2.00 times the time of FP32") == 2
    assert "FP32 60.00 %; points lost: Ultralytics INT8 +2.00, qutils INT8 +0.50" in (
        words.of_finding(fast)
    )


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ({"Convolution amx_I8": 3.0, "Concat ref_I8": 0.5}, "convolutions are slower than those"),
        ({"Convolution amx_I8": 1.5, "Concat ref_I8": 2.5}, "gain, the other layers lose"),
        ({"Convolution amx_I8": 1.5, "Concat ref_I8": 0.5}, "counters do not explain it"),
    ],
)
def test_words_say_what_a_runtime_counts(layers, said):
    counted = {FP32: {"Convolution f32": 2.0, "Concat ref_f32": 1.0}, OURS: layers}
    slow = [
        replace(
            one,
            over_fp32=Ratio(1.2, 1.1, 1.3) if one.over_fp32 else None,
            spent=tuple(counted.get(one.maker, {}).items()),
        )
        for one in three()
    ]
    theirs, ours = words.of_slow(slow).splitlines()
    assert "counts" not in theirs
    assert f"counts {layers['Convolution amx_I8']:.2f} of {sum(layers.values()):.2f} ms" in ours
    assert "(`amx_I8`), and of FP32's 2.00 of 3.00 ms" in ours
    assert said in ours


def test_other_threads_are_not_judged():
    check = detection.checks(three(), [TrainingTime(60.0, 4)], "full")[-1]
    assert check.value == pytest.approx(1.0)
    assert check.passed is None
