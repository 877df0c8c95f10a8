"""Rows of ``results.json``, and the headline figures with what they have to reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qutils.detection.reference import TrainingTime
from qutils.lab.results.headlines import TRIAL
from qutils.lab.results.results import Check, Row
from qutils.lab.studies.detection.heads import ONE2ONE, HeadScores
from qutils.lab.studies.detection.parts import EVERYTHING, PartError
from qutils.lab.studies.detection.plan import Profile
from qutils.lab.studies.detection.runs import FP32, OURS, THEIRS, TRAINED, Figures

COMMAND = "qutils run notebooks/reports/detection.ipynb -p profile full"
#: Points of mAP50-95 below FP32 that a runtime's file may lose.
ALLOWED = {"litert": 1.5, "onnxruntime": 1.0, "openvino": 1.0}
#: Runtimes in which our file has to find at least as well as the exporter's.
AS_GOOD = ("onnxruntime", "openvino")
FILE, LATENCY = 0.32, 1.05
#: Minutes in which both networks are to be trained, by that many threads.
TRAINED_IN, TRAINED_WITH = 15.0, 2
_METHODS = {
    FP32: "fp32",
    THEIRS: "ptq-ultralytics",
    OURS: "ptq-bias-correction",
    TRAINED: "qat-distillation",
}


def rows(
    found: Sequence[Figures],
    parts: Sequence[PartError],
    heads: Sequence[HeadScores],
    size: Profile,
) -> list[Row]:
    """One row for each file in each runtime, second heads included, and each simulated network."""
    return [
        *(_row(figures, size) for figures in found),
        *(_second(one, found, size) for one in heads if one.head == ONE2ONE),
        *(_simulated(part, size) for part in parts if part.part == EVERYTHING),
    ]


def _row(one: Figures, size: Profile) -> Row:
    ours, quantized = one.maker in (OURS, TRAINED), one.maker != FP32
    metrics: dict[str, float | None] = {
        "map50": one.scores.map50,
        "map50_95": one.scores.map50_95,
        "pictures": one.scores.pictures,
        "box_error_px": one.distance.box if one.distance else None,
        "probability_error": one.distance.probability if one.distance else None,
        "latency_over_fp32": one.over_fp32.median if one.over_fp32 else None,
        "latency_over_exporter": one.over_theirs.median if one.over_theirs else None,
    }
    return Row(
        model=one.network,
        dataset=dataset_name(size),
        method=_METHODS[one.maker],
        weight_bits=8 if quantized else 32,
        activation_bits=8 if quantized else 32,
        observer=size.observer if ours else None,
        granularity="per_channel" if ours else None,
        seed=None,
        execution=execution(one),
        runtime=one.runtime,
        size_bytes=one.size_bytes,
        latency_ms_median=one.latency.median_ms,
        latency_ms_iqr=one.latency.iqr_ms,
        threads=one.latency.threads,
        metrics=metrics,
    )


def _second(one: HeadScores, found: Sequence[Figures], size: Profile) -> Row:
    """Executed as the first head's file is: but for the last branches it is the same graph."""
    first = next(
        other
        for other in found
        if (other.network, other.runtime, other.maker) == (one.network, one.runtime, OURS)
    )
    return Row(
        model=f"{one.network}-{one.head}",
        dataset=dataset_name(size),
        method=_METHODS[OURS],
        weight_bits=8,
        activation_bits=8,
        observer=size.observer,
        granularity="per_channel",
        seed=None,
        execution=execution(first),
        runtime=one.runtime,
        size_bytes=one.size_bytes,
        metrics={
            "map50": one.int8.map50,
            "map50_95": one.int8.map50_95,
            "map50_95_lost": one.fp32.map50_95 - one.int8.map50_95,
            "pictures": one.int8.pictures,
        },
    )


def execution(one: Figures) -> str:
    """``integer``, or ``simulated`` where ONNX Runtime computes rounded values mostly in float."""
    if one.maker == FP32:
        return "float"
    if one.why is not None and one.why.profile.share("integer") < one.why.profile.share("float"):
        return "simulated"
    return "integer"


def _simulated(one: PartError, size: Profile) -> Row:
    return Row(
        model=one.network,
        dataset=dataset_name(size),
        method="ptq",
        weight_bits=8,
        activation_bits=8,
        observer=size.observer,
        granularity="per_channel",
        seed=None,
        execution="simulated",
        runtime="torch",
        metrics={"map50_95": one.map50_95, "map50_95_lost": one.lost},
    )


def dataset_name(size: Profile) -> str:
    """Of the user's YAML, or of the generated pictures."""
    return size.data.stem if size.data else size.shapes.name


def checks(found: Sequence[Figures], times: Sequence[TrainingTime], profile: str) -> list[Check]:
    """What each file of ours has to reach beside FP32's and the exporter's, in one run.

    And how long training the networks may take; ``times`` of each, none if they were given.
    """
    made = [check for group in _groups(found) for check in _checks(group)]
    if times:
        networks = " + ".join(dict.fromkeys(one.network for one in found))
        each = " + ".join(f"{one.seconds / 60:.1f}" for one in times)
        minutes = sum(one.seconds for one in times) / 60
        threads = {one.threads for one in times}
        note = f"{each}, threads: {' and '.join(map(str, sorted(threads)))}"
        title = f"{networks}, training"
        check = Check(title, minutes, "minutes", TRAINED_IN, "<=", COMMAND, note, "measured")
        made.append(check if threads == {TRAINED_WITH} else check.unjudged())
    return [check.unjudged() if profile == TRIAL else check for check in made]


def _groups(found: Sequence[Figures]) -> list[dict[str, Figures]]:
    """Files of one network in one runtime, by maker."""
    keys = dict.fromkeys((one.network, one.runtime) for one in found)
    return [{one.maker: one for one in found if (one.network, one.runtime) == key} for key in keys]


def _checks(group: dict[str, Figures]) -> Iterator[Check]:
    fp32, theirs, ours = (group[maker] for maker in (FP32, THEIRS, OURS))
    name, runtime = f"{ours.network}: {ours.runtime}", ours.runtime
    lost, theirs_lost = (fp32.scores.map50_95 - one.scores.map50_95 for one in (ours, theirs))
    unit = f"points of mAP50-95, {ours.scores.pictures:,} pictures"
    yield Check(
        f"{name}, INT8 below FP32",
        lost,
        unit,
        ALLOWED[runtime],
        "<=",
        COMMAND,
        f"the exporter's: {theirs_lost:.2f}; FP32: {fp32.scores.map50_95:.2f} %",
        "integer",
    )
    if runtime in AS_GOOD:
        above = theirs_lost - lost
        note = "of two files scored on the same pictures"
        title = f"{name}, above the exporter's INT8"
        yield Check(title, above, unit, 0.0, ">=", COMMAND, note, "integer")
    share = ours.size_bytes / fp32.size_bytes
    note = f"{ours.size_bytes:,} bytes"
    yield Check(f"{name}, file", share, "of FP32's", FILE, "<=", COMMAND, note, "measured")
    assert ours.over_theirs is not None
    assert ours.over_fp32 is not None
    ratio = ours.over_theirs
    yield Check(
        f"{name}, latency",
        ratio.median,
        "of the exporter's INT8",
        LATENCY,
        "<=",
        COMMAND,
        f"95 % interval {ratio.low:.3f} to {ratio.high:.3f}; {ours.over_fp32.median:.2f} of FP32's",
        "measured",
    )
