"""How the shipped checkpoints were trained; ``qutils train MODEL`` repeats it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qutils.quantize.training import Plan, Point, fit
from qutils.zoo.datasets import Dataset

WEIGHT_DECAY = 5e-4


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Matrices and filters decay; BatchNorm and biases do not."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    keep = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decay, "weight_decay": WEIGHT_DECAY}, {"params": keep, "weight_decay": 0.0}]


def train(
    build: Callable[[], nn.Module],
    data: Dataset,
    plan: Plan,
    *,
    then: Plan | None = None,
    resume: Path | None = None,
    label: str = "training",
    progress: bool = True,
) -> tuple[nn.Module, list[Point]]:
    """Train a fresh model from its plan; deterministic for one thread count.

    SGD with Nesterov momentum 0.9; weight decay on convolutions and linear layers only.

    Args:
        then: the plan of a second round, see ``ModelEntry``.
        resume: file of an interrupted run; a second round keeps its own beside it.

    Returns the model in eval mode and its learning curve, second round appended.
    """
    torch.manual_seed(plan.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    second = resume.with_name(f"{resume.name}.second") if resume else None
    curve: list[Point] = []
    if second is None or not second.is_file():  # else the first round is behind it
        curve += _round(model, data, plan, resume, label, progress)
    if then is not None:
        curve += _round(model, data, then, second, f"{label}, second round", progress)
    return model.cpu().eval(), curve


def _round(
    model: nn.Module, data: Dataset, plan: Plan, resume: Path | None, label: str, progress: bool
) -> list[Point]:
    groups = parameter_groups(model)
    optimizer = torch.optim.SGD(groups, lr=plan.learning_rate, momentum=0.9, nesterov=True)
    return fit(
        model,
        data.train,
        plan,
        optimizer,
        resume=resume,
        label=label,
        progress=progress,
    )
