"""The lab: a whole network under any setting, scored on test pictures as you drag."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from torch import Tensor, nn

from qutils import zoo
from qutils.errors import InvalidInputError
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.lab_data import ShownTensor, lab_data, shown_tensor, site_of
from qutils.lab.explorers.lab_setting import MAPPINGS, WORST, Setting, shipped
from qutils.lab.explorers.lab_words import alt, commands, note
from qutils.lab.explorers.subject import PICTURES, Outcome, Subject, own_subject, zoo_subject
from qutils.lab.explorers.view import Fact, View
from qutils.lab.figures.explorers.lab import LabPlot
from qutils.lab.figures.theme import METHOD_LABELS, model_label
from qutils.lab.studies.study.plan import METHODS
from qutils.numerics.observers import OBSERVERS
from qutils.numerics.schemes import GRANULARITIES, MAX_BITS, MIN_BITS, Recipe


class LabExplorer(Explorer):
    """Bits, observer, granularity, mapping and method of a whole network; what each choice costs.

    By default the shipped networks on Fashion-MNIST. ``model`` and ``data`` put another on the
    table: any ``nn.Module`` that ``qutils.observe`` takes, and labelled pictures
    ``(x [N, ...], labels [N])``, half of which give ranges while the others are scored.

    Args:
        classes: names of the labels of ``data``. pictures: at most so many are scored.

    Raises:
        InvalidInputError: only one of ``model`` and ``data``, or data that does not fit.
        UnsupportedError: as ``qutils.observe``.
    """

    title = "The lab"

    def __init__(
        self,
        model: nn.Module | None = None,
        data: tuple[Tensor, Tensor] | None = None,
        *,
        classes: tuple[str, ...] = (),
        pictures: int = PICTURES,
    ) -> None:
        if (model is None) != (data is None):
            raise InvalidInputError("a model of your own goes with data=(x, labels), and with it")
        if model is not None and data is not None:
            found = [own_subject(model, data, classes, pictures)]
        else:
            found = [zoo_subject(name, pictures) for name in zoo.MODELS]
        self.subjects: Mapping[str, Subject] = {subject.name: subject for subject in found}
        self.own = model is not None
        self.controls = (*(() if self.own else _choice_of_model()), *_controls(self.subjects))
        self.plot = LabPlot()
        self._outcome = lru_cache(maxsize=1024)(self._simulate)

    def compute(self, **setting: Value) -> View:
        """Accuracy, agreement, SQNR, size and flips; all of it simulated or estimated."""
        asked = Setting.of(setting, next(iter(self.subjects)))
        subject = self.subjects[asked.model]
        made = asked.checkpoint if asked.method == "qat" else None
        outcome = self._outcome(asked.model, asked.recipe, made)
        shown = shown_tensor(subject, outcome, site_of(subject, outcome, asked.tensor))
        method = "ptq" if made is None else "qat"
        return View(
            facts=_facts(subject, outcome, shown, method),
            note=note(asked, subject, outcome, made),
            alt=alt(subject, outcome, shown.site.name, method),
            data=lab_data(subject, outcome, shown, method),
            commands=commands(asked, setting, subject, outcome, made),
        )

    def outcome(self, **setting: Value) -> Outcome:
        """What ``compute`` tells, as data, every picture and layer of it.

        Raises:
            InvalidInputError: an unknown control, or a value that is none of its options.
        """
        asked = Setting.of(self.complete(setting), next(iter(self.subjects)))
        made = asked.checkpoint if asked.method == "qat" else None
        return self._outcome(asked.model, asked.recipe, made)

    def _simulate(self, model: str, recipe: Recipe, made: zoo.QatCheckpoint | None) -> Outcome:
        subject = self.subjects[model]
        if made is None:
            return subject.outcome(recipe)
        return subject.outcome_of(subject.trained(made), own_weights=True)


def _choice_of_model() -> tuple[Control, ...]:
    """Which shipped network, and by which method it was quantized."""
    models = tuple(zoo.MODELS)
    there = ", ".join(dict.fromkeys(made.recipe.label for made in shipped()))
    texts = {"qat": f"QAT ({there})" if there else "QAT (no checkpoint here)"}
    return (
        Control("model", "Model", models, models[0], "menu", tuple(map(model_label, models))),
        Control(
            "method", "Method", METHODS, "ptq", "menu",
            tuple(texts.get(method, METHOD_LABELS[method]) for method in METHODS),
        ),
    )  # fmt: skip


def _controls(subjects: Mapping[str, Subject]) -> tuple[Control, ...]:
    """What can be set of any network."""
    bits = tuple(range(MIN_BITS, MAX_BITS + 1))
    tensors = _tensors(subjects)
    return (
        Control("weight_bits", "Weight bits", bits, 4, frames=(2, 3, 4, 8)),
        Control("activation_bits", "Activation bits", bits, 8, frames=(4, 8)),
        Control("observer", "Observer", tuple(OBSERVERS), "minmax", "menu",
                frames=("minmax", "mse")),
        Control("granularity", "Granularity", GRANULARITIES, "per_channel", "menu",
                frames=("per_channel",)),
        Control("mapping", "Activation mapping", MAPPINGS, "affine", "menu", frames=("affine",)),
        Control("tensor", "Tensor", tuple(tensors), WORST, "menu", tuple(tensors.values()),
                frames=(WORST,)),
    )  # fmt: skip


def _tensors(subjects: Mapping[str, Subject]) -> dict[str, str]:
    """Every tensor of every network and how it is written; one of all networks stands alone."""
    tensors = {WORST: "activation of lowest SQNR"}
    for subject in subjects.values():
        for site in subject.sites:
            common = all(site in other.sites for other in subjects.values())
            tensors.setdefault(site, site if common else f"{model_label(subject.name)}: {site}")
    return tensors


def _facts(subject: Subject, outcome: Outcome, shown: ShownTensor, method: str) -> tuple[Fact, ...]:
    low, high = outcome.interval
    scales = shown.q.scale.flatten()
    return (
        Fact("method", "Method", METHOD_LABELS[method]),
        Fact("top1", f"Right, simulated, n = {outcome.n:,}", outcome.top1, "%", 1),
        Fact("interval", "95 % interval", f"{low:.1f} to {high:.1f} %"),
        Fact("float_top1", f"Right, FP32, n = {outcome.n:,}", subject.top1, "%", 1),
        Fact("agreement", "Same answer as FP32", outcome.agreement, "%", 1),
        Fact("flips", "Answers changed", len(outcome.flips)),
        Fact("logits_sqnr_db", "SQNR of the logits", outcome.logits_sqnr_db, "dB"),
        Fact("size_kb", "Size, estimated", outcome.size.total_bytes / 1000, "kB", 1),
        Fact("smaller", "Smaller than FP32, estimated", outcome.size.ratio, "times"),
        Fact("integer_share", "Multiply-adds with an 8-bit kernel",
             100 * subject.coverage.share, "%", 1),
        Fact("tensor", "Tensor shown", shown.site.name),
        Fact("tensor_sqnr_db", "SQNR of that tensor alone", shown.sqnr_db, "dB"),
        Fact("scale", "Its scale" if len(scales) == 1 else f"Largest of its {len(scales):,} scales",
             float(scales.max()), "per step", 4),
    )  # fmt: skip
