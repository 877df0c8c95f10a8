"""How long the reports will take on this machine, said before they start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from qutils.lab.results.formats import duration
from qutils.lab.runner.pace import Pace, measured_pace
from qutils.lab.runner.parameters import read_parameters, resolve
from qutils.lab.studies.study.cost import FITTED, fit_to_machine
from qutils.lab.studies.study.plan import plan_jobs

#: Reference steps that a report takes in its default profile without optional runtimes, rounded
#: from one run on a CPU with AVX-512. The study's own are counted job by job.
STEPS = {"bench": 680.0, "coverage": 190.0, "parity": 450.0}
#: What the study's notebook does beside the jobs: it starts, times files, draws.
_AROUND = 200.0
#: The report that is fitted to the machine, and parameters of its notebook that make its plan.
_STUDY = "ptq_vs_qat"
_PLAN = ("models", "methods", "weight_bits", "activation_bits", "observers", "granularities")
_MORE = ("profile", "seeds", "epochs")


def forecast(given: Mapping[Path, Mapping[str, object]]) -> str:
    """Return how long notebooks will take with these parameters; empty if nothing is known.

    Only the default profile is predicted. Kept results make it shorter.

    Raises:
        InvalidInputError: parameters that do not fit the notebook.
        QutilsError: the trial that measures the machine failed.
    """
    values = {path: resolve(read_parameters(path), own) for path, own in given.items()}
    known = [path for path in values if path.stem in (*STEPS, _STUDY)]
    if not known or any(values[path].get("profile") != FITTED for path in known):
        return ""
    pace = measured_pace()
    found, left = {}, ""
    for path in known:
        if path.stem == _STUDY:
            found[path.stem], left = _of_study(values[path])
            found[path.stem] += pace.step_seconds * _AROUND
        else:
            found[path.stem] = pace.step_seconds * STEPS[path.stem]
    return said(found, pace, left)


def said(seconds: Mapping[str, float], pace: Pace, left: str) -> str:
    """The forecast in words, without the results that are kept.

    >>> said({"a": 60, "b": 90}, Pace(0.1, 2), "")
    'About 2 min 30 s on this machine (100 ms a training step of ResNet-8, 2 side by side), \
with nothing kept from earlier runs: a 1 min 0 s, b 1 min 30 s.'
    """
    parts = ", ".join(f"{name} {duration(took)}" for name, took in seconds.items())
    total = duration(sum(seconds.values()))
    return (
        f"About {total} on this machine ({pace}), with nothing kept from earlier runs: {parts}."
        + (f" {left}" if left else "")
    )


def _of_study(values: Mapping[str, object]) -> tuple[float, str]:
    """Predicted seconds of the study, and what it leaves out in words."""
    asked: Sequence[object] = [values[name] for name in (*_PLAN, *_MORE)]
    jobs = plan_jobs(*asked)  # type: ignore[arg-type]
    fitted = fit_to_machine(jobs, FITTED, bool(values["fit_machine"]))
    left = "; ".join(fitted.left_out)
    why = f"Left out, because this machine is slow: {left}. PROFILE=full leaves out nothing."
    return fitted.seconds or 0.0, why if left else ""
