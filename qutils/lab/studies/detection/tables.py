"""What was compared as data frames with units, for figures and for reading."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from qutils.evaluate.explain.profile import Kind
from qutils.lab.studies.detection.parts import PartError
from qutils.lab.studies.detection.runs import FP32, Distance, Figures

#: Kinds of operators in an explanation.
KINDS: tuple[Kind, ...] = ("integer", "float", "conversion", "other")


def files(found: Sequence[Figures]) -> pd.DataFrame:
    """A row for each file: for figures. Percent, points, bytes, milliseconds."""
    whole = {(f.network, f.runtime): f for f in found if f.maker == FP32}
    return pd.DataFrame(
        [
            {
                "network": one.network,
                "runtime": one.runtime,
                "maker": one.maker,
                "map50_95": one.scores.map50_95,
                "lost": whole[one.network, one.runtime].scores.map50_95 - one.scores.map50_95,
                "latency_ms": one.latency.median_ms,
                "over_fp32": one.over_fp32.median if one.over_fp32 else 1.0,
                "size_bytes": one.size_bytes,
            }
            for one in found
        ]
    )


def file_table(found: Sequence[Figures]) -> pd.DataFrame:
    """How well each file finds, how far it is from FP32, its size and time: for reading."""
    whole = {(f.network, f.runtime): f for f in found if f.maker == FP32}
    return pd.DataFrame([_file(one, whole[one.network, one.runtime]) for one in found])


def _file(one: Figures, fp32: Figures) -> dict[str, object]:
    return {
        "network": one.network,
        "runtime": one.runtime,
        "file": one.maker,
        "mAP50 [%]": f"{one.scores.map50:.2f}",
        "mAP50-95 [%]": f"{one.scores.map50_95:.2f}",
        "lost [points]": f"{fp32.scores.map50_95 - one.scores.map50_95:+.2f}",
        **_away(one.distance),
        "size [MB]": f"{one.size_bytes / 1e6:.2f}",
        "of FP32's": f"{one.size_bytes / fp32.size_bytes:.3f}",
        "latency [ms]": f"{one.latency.median_ms:.2f}",
        "IQR [ms]": f"{one.latency.iqr_ms:.2f}",
        "of FP32's time": f"{one.over_fp32.median:.3f}" if one.over_fp32 else "",
        "of the exporter's": f"{one.over_theirs.median:.3f}" if one.over_theirs else "",
    }


def _away(distance: Distance | None) -> dict[str, object]:
    return {
        "box error [pixels]": f"{distance.box:.3f}" if distance else "",
        "probability error": f"{distance.probability:.4f}" if distance else "",
    }


def part_table(found: Sequence[PartError]) -> pd.DataFrame:
    """What each part alone costs, simulated."""
    return pd.DataFrame(
        [
            {
                "network": one.network,
                "rounded": one.part,
                "mAP50-95, simulated [%]": f"{one.map50_95:.2f}",
                "lost [points]": f"{one.lost:+.2f}",
                **_away(one.distance),
            }
            for one in found
        ]
    )


def time_table(found: Sequence[Figures]) -> pd.DataFrame:
    """Where ONNX Runtime's time goes, by kind of operator."""
    return pd.DataFrame(
        [
            {
                "network": one.network,
                "file": one.maker,
                "operators [ms]": f"{one.why.profile.milliseconds:.2f}",
                **{f"{kind} [%]": f"{one.why.profile.share(kind):.0f}" for kind in KINDS},
            }
            for one in found
            if one.why is not None
        ]
    )


def kernel_table(found: Sequence[Figures]) -> pd.DataFrame:
    """Operators that executed, as each runtime tells them."""
    return pd.DataFrame(
        [
            {
                "network": one.network,
                "runtime": one.runtime,
                "file": one.maker,
                "executed": ", ".join(f"{count} {name}" for name, count in one.kernels),
            }
            for one in found
        ]
    )
