"""What the lab says about a setting: what it cost, what can run it, how to get it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from qutils.errors import UnsupportedError
from qutils.lab.explorers.control import Value
from qutils.lab.explorers.lab_setting import GROUP_SIZE, WORST, Setting, shipped
from qutils.lab.explorers.subject import CALIBRATION, Outcome, Subject
from qutils.lab.figures.theme import METHOD_LABELS, model_label
from qutils.zoo import MODELS, QAT_CHECKPOINTS, QatCheckpoint

NOTEBOOK = "notebooks/08_lab.ipynb"


def run_command(notebook: str, out: str, parameters: Mapping[str, Value]) -> str:
    """The command that runs a notebook with these parameters, quoted for a POSIX shell.

    >>> run_command("notebooks/08_lab.ipynb", "my out", {"weight_bits": 4})
    "qutils run notebooks/08_lab.ipynb 'my out' -p weight_bits 4"
    """
    words = ["qutils", "run", notebook, out]
    for name, value in parameters.items():
        words += ["-p", name, str(value)]
    return shlex.join(words)


def note(setting: Setting, subject: Subject, outcome: Outcome, made: QatCheckpoint | None) -> str:
    """What to see in the picture, and what is not as the controls say."""
    parts = [_verdict(outcome), _execution(subject, outcome)]
    if setting.method == "qat":
        parts.append(_trained(setting, made))
    if setting.granularity == "per_group":
        parts.append(f"Groups are of {GROUP_SIZE} weights, or fewer where filters are smaller.")
    if setting.tensor != WORST and setting.tensor not in subject.sites:
        parts.append(
            f"{model_label(subject.name)} has no tensor {setting.tensor}: the one of the lowest "
            "SQNR is shown."
        )
    return " ".join(parts)


def commands(
    setting: Setting,
    values: Mapping[str, Value],
    subject: Subject,
    outcome: Outcome,
    made: QatCheckpoint | None,
) -> tuple[tuple[str, str], ...]:
    """How to see this setting again, and how to get its file or its checkpoint."""
    if setting.model not in MODELS:
        arguments = ", ".join(f"{name}={value!r}" for name, value in values.items())
        return (("This setting again, in Python", f"LabExplorer(model, data).view({arguments})"),)
    found = [("This setting again, as a report", run_command(NOTEBOOK, "out/lab", values))]
    if setting.method == "qat" and made is None and setting.trainable:
        found.append(_train_command(setting))
    elif not no_kernel(outcome):
        found.append(("Its INT8 file", _export_command(setting, made)))
    return tuple(found)


def no_kernel(outcome: Outcome) -> str:
    """Why no integer kernel runs the setting; empty if one does."""
    try:
        outcome.target.require_kernels(outcome.recipe)
    except UnsupportedError as error:
        return str(error).partition(":")[0]
    return ""


def _verdict(outcome: Outcome) -> str:
    """Answers lost and gained, and whether that is more than the choice of pictures."""
    if not outcome.flips:
        return f"No answer differs from FP32's on {outcome.n:,} pictures."
    lost, gained = (sum(f.verdict == v for f in outcome.flips) for v in ("lost", "gained"))
    low, high = outcome.gain.interval
    told = {(True, True): f"too little to tell on {outcome.n:,} pictures"}.get(
        (low <= 0, high >= 0), f"{'worse' if high < 0 else 'better'} than FP32"
    )
    return (
        f"Of {len(outcome.flips)} answers that changed, {lost} were right before and {gained} are "
        f"now: {outcome.gain.points:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}), {told}."
    )


def _execution(subject: Subject, outcome: Outcome) -> str:
    """Say whether integer kernels run the setting, and what of the network they do not."""
    reason = no_kernel(outcome)
    if reason:
        return f"Simulated; it cannot be exported, as {reason}."
    said = f"Simulated; {outcome.target.name} has integer kernels that run it."
    return f"{said} {subject.coverage}" if subject.coverage.in_float else said


def _trained(setting: Setting, made: QatCheckpoint | None) -> str:
    """Which checkpoint answers, or why none does."""
    if made is not None:
        return (
            f"QAT: checkpoint {made.name}, trained for {made.epochs:g} epochs from {made.observer} "
            "ranges; the observer chosen above changes nothing. Its weights have moved: a layer "
            "need not resemble FP32's to be right."
        )
    ready = ", ".join(f"{m.recipe.label}" for m in shipped(setting.model)) or "none"
    return (
        f"No QAT checkpoint of {model_label(setting.model)} fits this setting (there are: {ready}; "
        "all per channel with affine activations): these numbers are PTQ's."
    )


def _train_command(setting: Setting) -> tuple[str, str]:
    made = QatCheckpoint(setting.model, setting.weight_bits, setting.activation_bits)
    words = ["qutils", "train", made.model, "--qat", made.recipe.label, "--out"]
    if made.name in QAT_CHECKPOINTS:
        command = shlex.join([*words, f"data/checkpoints/{made.name}.safetensors"])
        return "Trains this checkpoint; the lab then finds it", command
    command = shlex.join([*words, f"{made.name}.safetensors"])
    return "Trains such a network, for qutils.load to open", command


def _export_command(setting: Setting, made: QatCheckpoint | None) -> str:
    if made is not None:
        bits = f"{made.weight_bits}, {made.activation_bits}"
        load = f'q.zoo.load_quantized("{made.model}", {bits})'
        code = f'import qutils as q; q.export({load}, "{made.name}-qat.onnx")'
        return shlex.join(["python", "-c", code])
    words = ["qutils", "quantize", setting.model, f"{setting.model}-int8.onnx"]
    words += ["--observer", setting.observer, "--granularity", setting.granularity]
    return shlex.join([*words, "--pictures", str(CALIBRATION)])


def alt(subject: Subject, outcome: Outcome, tensor: str, method: str) -> str:
    """The picture in words."""
    return (
        f"{model_label(subject.name)} as {outcome.recipe.label} by {METHOD_LABELS[method]}: bar of "
        f"{outcome.top1:.1f} % right beside FP32's {subject.top1:.1f} %; SQNR of "
        f"{len(outcome.layers)} layers, lowest {outcome.worst.sqnr_db:.1f} dB at "
        f"{outcome.worst.layer}; histogram of {tensor} with its ranges; "
        f"{len(outcome.flips)} pictures changed their prediction"
    )
