"""The headline figures that a PTQ-against-QAT report is judged by, each with its command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from qutils import zoo
from qutils.lab.results.headlines import LOSSES, TRIAL, Headline
from qutils.lab.results.results import Check, Comparison


def checks_of(
    df: pd.DataFrame, observer: str, profile: str, shortened: bool = False
) -> list[Check]:
    """The headline figures, as far as the parameters asked for them.

    Those of a trial, and of a run shortened for a slow machine, are shown as they are; only the
    size of a file is the same in every run, and is held against its target. Accuracies are held
    against theirs where all test images were scored: on fewer, and with one seed, their spread is
    as large as what is allowed.

    Args:
        df: rows of one report (see ``tables.frame``); ``observer`` is its main one.
        shortened: something was left out (see ``cost.fit_to_machine``).
    """
    command = "make report" if profile == "default" else f"make report PROFILE={profile}"
    found: list[Check] = []
    for model in df["model"].unique():
        own = df[df["model"] == model]
        made = _Checks(model, own, observer, command)
        accuracies = [made.float_accuracy(), *made.losses()]
        if not made.on_all_images:
            accuracies = [check.unjudged() for check in accuracies]
        found += [*accuracies, *made.of_integer_files()]
    if profile == TRIAL or shortened:
        return [check if check.execution == "measured" else check.unjudged() for check in found]
    return found


@dataclass(frozen=True)
class _Checks:
    """Headline figures of one model, from its rows ``own``."""

    model: str
    own: pd.DataFrame
    observer: str
    command: str

    @property
    def fp32(self) -> float:
        return float(self.own.loc[self.own["method"] == "fp32", "top1"].iloc[0])

    @property
    def on_all_images(self) -> bool:
        """Whether every test image of the dataset was scored."""
        whole = len(zoo.dataset(zoo.entry(self.model).dataset).test)
        return bool((self.own["top1_n"].dropna() >= whole).all())

    def float_accuracy(self) -> Check:
        return self._check("FP32 top-1", self.fp32, "%", 92.5, ">=", "float")

    def losses(self) -> Iterator[Check]:
        """Points of top-1 that each setting loses: mean over seeds."""
        for setting in LOSSES:
            rows = self._rows(setting)
            if rows.empty:
                continue
            seeds, top1 = rows["seed"].nunique(), rows["top1"]
            note = f"top-1 {top1.mean():.2f} %"
            if seeds > 1:
                note += f", mean of {seeds} seeds ({top1.min():.2f} to {top1.max():.2f})"
            yield self._check(
                setting.label,
                self.fp32 - top1.mean(),
                "points lost",
                setting.allowed,
                None if setting.allowed is None else "<=",
                setting.execution,
                note,
            )

    def of_integer_files(self) -> Iterator[Check]:
        """Agreement with the simulation, and bytes of the file."""
        integer = self.own[self.own["execution"] == "integer"]
        main = integer[
            (integer["method"] == "ptq")
            & (integer["granularity"] == "per_channel")
            & (integer["observer"] == self.observer)
        ]
        if main.empty:
            return
        worst = integer["agreement_percent"].min()
        note = f"the worst of {len(integer)} files"
        name = "same prediction, simulation and INT8 file"
        yield self._check(name, worst, "%", 99.9, ">=", "integer", note)
        fp32 = self.own.loc[self.own["method"] == "fp32", "size_bytes"].iloc[0]
        ratio = main["size_bytes"].mean() / fp32
        yield self._check("INT8 file of FP32 file", ratio, "ratio", 0.36, "<=", "measured")

    def _rows(self, setting: Headline) -> pd.DataFrame:
        wanted = {
            "method": setting.method,
            "weight_bits": setting.bits[0],
            "activation_bits": setting.bits[1],
            "granularity": setting.granularity,
            "observer": setting.observer or self.observer,
            "execution": setting.execution,
        }
        rows = self.own
        for column, value in wanted.items():
            rows = rows[rows[column] == value]
        return rows

    def _check(
        self,
        name: str,
        value: float,
        unit: str,
        target: float | None,
        comparison: Comparison | None,
        execution: str,
        note: str = "",
    ) -> Check:
        name, value = f"{self.model}: {name}", round(float(value), 3)
        return Check(name, value, unit, target, comparison, self.command, note, execution)
