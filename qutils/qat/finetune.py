"""Quantization-aware training: start from the PTQ model, let gradients pass straight through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from qutils.errors import InvalidInputError
from qutils.simulate import FakeQuantize, SimulatedModel
from qutils.training import Loss, Pictures, Plan, fit

#: Step of a scale relative to its size, as a share of the plan's learning rate.
RANGE_RATE = 2.0
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Batches:
    """Ready-made inputs and labels, for data that is not a ``zoo.Split``; no augmentation."""

    images: Tensor  # [N, ...] network inputs
    labels: Tensor  # [N]

    def prepare(self, images: Tensor) -> Tensor:
        """Inputs are ready: returns them as they are."""
        return images


def gather(batches: Iterable[tuple[Tensor, Tensor]]) -> Batches:
    """Collect ``(x, y)`` batches, of a DataLoader say, into one tensor each (held in memory).

    Raises:
        InvalidInputError: there is no batch, or one is not a pair of tensors.
    """
    xs, ys = [], []
    for index, batch in enumerate(batches):
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise InvalidInputError(f"training batch {index} is not a pair (input, label)")
        xs.append(batch[0])
        ys.append(batch[1])
    if not xs:
        raise InvalidInputError("the training set is empty: give at least one batch (input, label)")
    return Batches(torch.cat(xs), torch.cat(ys))


def finetune(
    sim: SimulatedModel,
    data: Pictures | Iterable[tuple[Tensor, Tensor]],
    *,
    epochs: float = 1.0,
    learning_rate: float = LEARNING_RATE,
    batch_size: int = 64,
    seed: int = 0,
    teacher: nn.Module | None = None,
    resume: Path | None = None,
    progress: bool = True,
) -> SimulatedModel:
    """Fine-tune weights, scales and zero points of a simulated model; returns a new one.

    Each step runs the fake-quantized forward, and Adam follows straight-through gradients (see
    ``qutils.ste``). Weights move by ``learning_rate``; a scale moves by
    ``RANGE_RATE * learning_rate * scale``, so that ranges of every magnitude learn alike.
    The result's ``curve`` is its learning curve.

    Args:
        data: a ``zoo.Split`` (augmented) or an iterable of ``(x, y)`` batches (as they are).
        seed: fixes order and augmentation; the same seed and threads give the same weights.
        teacher: a float model whose softened outputs the student also follows; the loss is then
            the mean of cross-entropy and ``KL(teacher || student)``. Costs one forward a step.
        resume: where an interrupted run continues from.

    Raises:
        InvalidInputError: no data, fewer pictures than a batch, or a loss of NaN or Inf.
    Source: Esser et al. 2020 (LSQ), arXiv:1902.08153; Nagel et al. 2021, section 4;
        Hinton et al. 2015 for the teacher.
    """
    student = sim.copy()
    pictures = cast(Pictures, data) if hasattr(data, "images") else gather(data)
    plan = Plan(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
        augment=not isinstance(pictures, Batches),
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student.to(device)
    optimizer = torch.optim.Adam(groups(student, learning_rate))
    loss = None
    if teacher is not None:
        loss = _Distillation(teacher.to(device).eval())
    curve = fit(
        _Student(student, loss),
        pictures,
        plan,
        optimizer,
        pictures.prepare,
        loss=loss,
        resume=resume,
        label=f"QAT {sim.recipe.label}",
        progress=progress,
    )
    student.cpu().eval().requires_grad_(False)
    student.fit_biases()
    student.curve = (*sim.curve, *curve)
    return student


def groups(sim: SimulatedModel, learning_rate: float) -> list[dict[str, object]]:
    """Parameter groups: weights and biases, each range by its own size; marks what is trained.

    The network's input range stays: pixels do not move. A zero point is trained only where the
    range reaches below zero; behind a ReLU it has nothing to learn.
    """
    ranges: list[dict[str, object]] = []
    own: set[int] = set()
    for quantizer in sim.quantizers.values():
        own |= {id(quantizer.scale), id(quantizer.zero_point)}
        if quantizer.site.role == "boundary":
            continue
        rate = RANGE_RATE * learning_rate
        quantizer.scale.requires_grad_(True)
        ranges.append(
            {"params": [quantizer.scale], "lr": rate * float(quantizer.scale.detach().mean())}
        )
        if _learns_zero_point(quantizer):
            quantizer.zero_point.requires_grad_(True)
            levels = quantizer.scheme.qmax - quantizer.scheme.qmin
            ranges.append({"params": [quantizer.zero_point], "lr": rate * levels})
    weights = [p for p in sim.parameters() if id(p) not in own]
    for parameter in weights:
        parameter.requires_grad_(True)
    return [{"params": weights, "lr": learning_rate}, *ranges]


def _learns_zero_point(quantizer: FakeQuantize) -> bool:
    inside = quantizer.zero_point.min() > quantizer.scheme.qmin
    return bool(inside) and not quantizer.scheme.symmetric


class _Distillation:
    """Mean of cross-entropy and KL divergence to the teacher's outputs on the same batch."""

    def __init__(self, teacher: nn.Module) -> None:
        self.teacher = teacher
        self.targets: Tensor | None = None

    def watch(self, x: Tensor) -> None:
        with torch.no_grad():
            self.targets = self.teacher(x).log_softmax(1)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        assert self.targets is not None
        follow = nn.functional.kl_div(
            logits.log_softmax(1), self.targets, reduction="batchmean", log_target=True
        )
        return 0.5 * (nn.functional.cross_entropy(logits, labels) + follow)


class _Student(nn.Module):
    """The model being trained; lets the teacher, if there is one, see each batch first."""

    def __init__(self, student: SimulatedModel, loss: Loss | None) -> None:
        super().__init__()
        self.student = student
        self._loss = loss

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self._loss, _Distillation):
            self._loss.watch(x)
        result: Tensor = self.student(x)
        return result
