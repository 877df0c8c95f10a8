"""Quantization-aware training: start from the PTQ model, let gradients pass straight through."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from qutils.errors import InvalidInputError
from qutils.feed import Pictures, Samples
from qutils.graph.signature import Batch, named_outputs
from qutils.graph.wrappers import plain_copy
from qutils.nested import call_named
from qutils.numerics.schemes import Recipe
from qutils.quantize.qat.frozen import Frozen, frozen_parts, require_some_left, warn_of_untrained
from qutils.quantize.qat.trainable import trainable
from qutils.quantize.simulate import FakeQuantize, SimulatedModel
from qutils.quantize.training import CrossEntropy, Loss, Plan, Step, fit

#: Step of a scale relative to its size, as a share of the plan's learning rate.
RANGE_RATE = 2.0
#: Learning rate at ``COARSE_BITS`` or fewer; each further bit halves it.
LEARNING_RATE = 1e-3
COARSE_BITS = 4
BATCH = 64


def finetune(
    sim: SimulatedModel,
    data: Pictures | Iterable[Any],
    *,
    epochs: float = 1.0,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    loss: Loss | None = None,
    teacher: nn.Module | None = None,
    frozen: Collection[str] | None = None,
    resume: Path | None = None,
    progress: bool = True,
    on_step: Callable[[Step, SimulatedModel], None] | None = None,
) -> SimulatedModel:
    """Fine-tune weights, scales and zero points of a simulated model; returns a new one.

    Each step runs the fake-quantized forward, and Adam follows straight-through gradients (see
    ``qutils.numerics.ste``). Weights move by ``learning_rate``; a scale moves by
    ``RANGE_RATE * learning_rate * scale``, so that ranges of every magnitude learn alike.
    The result's ``curve`` is its learning curve.

    What was frozen (``requires_grad=False``) when the model was calibrated stays to the bit, and
    with it the scales of frozen weights and of what frozen layers compute. A BatchNorm folded into
    a frozen weight leaves it alone though the BatchNorm itself is not frozen, which a warning
    says; the layer's bias then learns what the BatchNorm's would. Only where a frozen layer's
    int32 bias would overflow does the scale of its weight grow.

    Args:
        data: a ``zoo.Split`` (shuffled and augmented), or batches ``(x, y)`` of a DataLoader or a
            list, one a step, as they come: only one is in memory at a time. ``x`` of a network
            with several inputs is a dict by their names.
        learning_rate: of the weights; None takes ``default_rate(sim.recipe)``.
        batch_size: of a split, ``BATCH`` if None; batches have a size of their own.
        seed: fixes order and augmentation; the same seed and threads give the same weights.
        loss: ``loss(outputs, labels)``; None is cross-entropy with class numbers ``[N]``. Several
            outputs are a dict by name, and need a loss.
        teacher: a float model (a copy is taken) whose softened outputs the student also follows;
            the loss is then the mean of ``loss`` and ``KL(teacher || student)``. Costs one
            forward a step.
        frozen: names of parameters or modules that stay, in place of what was frozen at
            calibration; ``()`` trains all.
        resume: where an interrupted run continues from, if it was one of this start, loss and
            teacher.
        on_step: called after every step with the model being trained, to look at it: a
            ``Recorder``, say.

    Raises:
        InvalidInputError: no data, fewer pictures than a batch, labels that are no classes of the
            model, ``batch_size`` beside batches, all parameters frozen, an unknown name to freeze,
            classes of a folder that are not one for each output, or a loss of NaN or Inf.
    Source: Esser et al. 2020 (LSQ), arXiv:1902.08153; Nagel et al. 2021, section 4;
        Hinton et al. 2015 for the teacher.
    """
    _check(sim, data, batch_size)
    if loss is None:
        _check_classes(sim, data)
    rate = default_rate(sim.recipe) if learning_rate is None else learning_rate
    stays = frozen_parts(sim, frozen)
    require_some_left(sim, stays)
    warn_of_untrained(sim, stays)
    student = sim.copy()
    plan = Plan(
        epochs=epochs,
        learning_rate=rate,
        batch_size=batch_size or BATCH,
        seed=seed,
        augment=not isinstance(data, Samples),
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student.to(device)
    optimizer = torch.optim.Adam(groups(student, rate, stays))
    follow = None
    if teacher is not None:
        follow = _Distillation(plain_copy(teacher).to(device), loss or CrossEntropy())
    with trainable(student):
        curve = fit(
            _Student(student, follow),
            data,
            plan,
            optimizer,
            loss=follow or loss,
            resume=resume,
            key=_digest(sim, teacher, loss, stays),
            label=f"QAT {sim.recipe.label}",
            progress=progress,
            on_step=None if on_step is None else lambda step: on_step(step, student),
        )
    student.cpu().eval().requires_grad_(False)
    student.fit_pairs()
    student.fit_biases()
    student.captured.freeze(stays.parameters)
    student.curve = (*sim.curve, *curve)
    return student


def _check(sim: SimulatedModel, data: object, batch_size: int | None) -> None:
    if not isinstance(sim, SimulatedModel):
        raise InvalidInputError(
            f"QAT starts from a simulated model, got {type(sim).__name__}: make one with "
            "q.calibrate(model, batches)"
        )
    if batch_size is not None and not hasattr(data, "images"):
        raise InvalidInputError(
            "batch_size is for a zoo.Split: batches (x, y) are taken as they are; make them of "
            f"{batch_size}"
        )


def _check_classes(sim: SimulatedModel, data: object) -> None:
    """Refuse data that tells its classes, as a folder does, and has not one for each output."""
    classes = getattr(data, "classes", ())
    output = next(n for n in sim.captured.module.graph.nodes if n.op == "output").args[0]
    if not classes or not isinstance(output, Node):  # several outputs: a loss of one's own
        return
    shape = output.meta["val"].shape
    if len(shape) == 2 and shape[1] != len(classes):
        raise InvalidInputError(
            f"the model tells {shape[1]} classes apart, the labels {len(classes)}. Read the folder "
            f"with outputs={shape[1]}, and classes=[...] in the order of the outputs."
        )


def default_rate(recipe: Recipe) -> float:
    """Learning rate of a recipe's bits: ``LEARNING_RATE * 2^-max(0, b - COARSE_BITS)``.

    ``b`` is the smaller of the weight and activation bits. Adam moves a weight by about the
    learning rate a step, whatever its gradient, and each bit halves the spacing of the grid: with
    the rate halved too, a step crosses the same share of a spacing at every width. Few bits have
    an error worth a large step; with many, it would lead away from weights that need none.

    >>> default_rate(Recipe())  # W8A8
    6.25e-05

    Source: Kingma and Ba 2015, arXiv:1412.6980, section 2.1 (the step of Adam).
    """
    bits = min(recipe.weights.bits, recipe.activations.bits)
    return LEARNING_RATE * 2.0 ** -max(0, bits - COARSE_BITS)


def groups(
    sim: SimulatedModel, learning_rate: float, frozen: Frozen | None = None
) -> list[dict[str, object]]:
    """Parameter groups: weights and biases, each range by its own size; marks what is trained.

    What is ``frozen`` is in no group, so that no optimizer moves or decays it; None takes what the
    model's owner froze. The network's input range stays: pixels do not move. So do ranges that a
    kernel fixes. A zero point is trained only where the range reaches below zero; behind a ReLU it
    has nothing to learn.
    """
    frozen = frozen_parts(sim) if frozen is None else frozen
    sim.requires_grad_(False)
    ranges: list[dict[str, object]] = []
    for quantizer in sim.quantizers.values():
        if quantizer.site.role == "boundary" or quantizer.site.fixed is not None:
            continue
        if quantizer.site.name in frozen.sites:
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
    network = dict(sim.captured.module.named_parameters())
    weights = [
        parameter.requires_grad_(True)
        for name, parameter in sim.graph_module.named_parameters()
        if name in network and name not in frozen.parameters
    ]
    return [{"params": weights, "lr": learning_rate}, *ranges]


def _learns_zero_point(quantizer: FakeQuantize) -> bool:
    inside = quantizer.zero_point.min() > quantizer.scheme.qmin
    return bool(inside) and not quantizer.scheme.symmetric


def _digest(
    sim: SimulatedModel, teacher: nn.Module | None, loss: Loss | None, frozen: Frozen
) -> str:
    """SHA-256 of what a run starts from: recipe, target, quantizers, weights, loss and teacher.

    What stays frozen counts as well.
    """
    named = None if loss is None else getattr(loss, "__qualname__", type(loss).__qualname__)
    stays = sorted(frozen.parameters)
    start = (sim.recipe, sim.target.name, list(sim.quantizers), named, *stays)
    digest = hashlib.sha256(repr(start).encode())
    for model in (sim, teacher):
        state = model.state_dict() if model is not None else {}
        for name, tensor in state.items():
            digest.update(f"{name}{list(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        digest.update(b"end")
    return digest.hexdigest()


class _Distillation:
    """Mean of a loss and the KL divergence to the teacher's outputs on the same batch."""

    def __init__(self, teacher: nn.Module, loss: Loss) -> None:
        self.teacher, self.loss = teacher, loss
        self.targets: Tensor | None = None

    def watch(self, x: Batch) -> None:
        with torch.no_grad():
            made = named_outputs(
                call_named(self.teacher, x) if isinstance(x, Mapping) else self.teacher(x)
            )
        if len(made) != 1:
            raise InvalidInputError(
                f"Expected a teacher with one output, got {', '.join(made)}. Wrap it in a module "
                "that returns the class scores alone."
            )
        self.targets = next(iter(made.values())).log_softmax(1)

    def __call__(self, logits: Any, labels: Any) -> Tensor:
        if not isinstance(logits, Tensor):
            raise InvalidInputError(
                f"A teacher needs one output to follow, the model returns {', '.join(logits)}. "
                "Leave teacher out, and put its part into the loss."
            )
        assert self.targets is not None
        follow = nn.functional.kl_div(
            logits.log_softmax(1), self.targets, reduction="batchmean", log_target=True
        )
        return 0.5 * (self.loss(logits, labels) + follow)


class _Student(nn.Module):
    """The model being trained; lets the teacher, if there is one, see each batch first."""

    def __init__(self, student: SimulatedModel, loss: Loss | None) -> None:
        super().__init__()
        self.student = student
        self._loss = loss

    def forward(self, x: Batch) -> Any:
        if isinstance(self._loss, _Distillation):
            self._loss.watch(x)
        return self.student(x)
