"""One deterministic, resumable training loop, shared by FP32 training and QAT."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, cast

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from qutils.errors import DataError, InvalidInputError
from qutils.feed import AsTheyAre, Feed, Pictures, Shuffled, Tensors, count
from qutils.files import atomic_path
from qutils.interrupt import ctrl_c
from qutils.nested import flat, rebuilt

#: Of what a network returns, a tensor or several by name, and labels.
Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train; learning rate warms up, then follows half a cosine."""

    epochs: float
    learning_rate: float
    batch_size: int = 128
    warmup: float = 0.1  # share of all steps
    label_smoothing: float = 0.0
    augment: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise InvalidInputError(f"{name} must be a positive, finite number, got {value!r}")

    def rate(self, step: int, steps: int) -> float:
        """Factor on the learning rate at ``step``: linear warm-up, then cosine to zero."""
        ramp = max(1, round(self.warmup * steps))
        if step < ramp:
            return (step + 1) / ramp
        return 0.5 * (1 + math.cos(math.pi * (step - ramp) / max(1, steps - ramp)))


@dataclass(frozen=True)
class Point:
    """One point of a learning curve: mean training loss since the last point."""

    step: int
    epoch: float
    loss: float
    accuracy: float  # percent of the training batches since the last point; NaN without classes


@dataclass(frozen=True)
class Step:
    """One optimizer step just done: the ``done``-th ``of`` all, and its loss."""

    done: int
    of: int
    loss: float


def fit(
    model: nn.Module,
    data: Pictures | Iterable[Any],
    plan: Plan,
    optimizer: torch.optim.Optimizer,
    *,
    loss: Loss | None = None,
    resume: Path | None = None,
    key: str = "",
    save_every: int = 200,
    points: int = 50,
    label: str = "training",
    progress: bool = True,
    clip_norm: float | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> list[Point]:
    """Train ``model`` in place and return its learning curve.

    The order of pictures and their augmentation depend on ``plan.seed`` and the step alone, so an
    interrupted run continued from ``resume`` gives the weights an unbroken run would have given.
    Batches ``(x, y)`` are taken as they come; it then holds if they come alike in every epoch.
    Ctrl-C takes effect between two steps (pressed twice: at once, without saving).

    Args:
        data: pictures, or an iterable of batches ``(x, y)``.
        loss: of outputs and labels; cross-entropy, if none is given.
        resume: file of the interrupted run; written about every ``save_every`` steps and on
            Ctrl-C, deleted at the end. A file of another plan or key is not continued from.
        key: what else makes this run the one that was interrupted, a digest of its start, say.
        points: about how many points the learning curve has.
        clip_norm: largest norm of all gradients together.
        on_step: called after every step, to look at the model; must leave it as it is.

    Raises:
        InvalidInputError: less than one batch, labels that are no classes of the model (without a
            ``loss`` of one's own), or the loss became NaN or Inf.
        DataError: the file of the interrupted run is unreadable, or cannot be written.
    """
    feed = _feed(data, plan)
    steps = max(1, round(plan.epochs * feed.per_epoch))
    every = max(1, steps // points)
    criterion = loss or CrossEntropy(plan.label_smoothing)
    update = _Update(model, optimizer, feed.prepare, criterion, plan, steps, clip_norm, label)
    run, meter = _Run(model, optimizer, plan, resume, key), _Meter()
    first, curve = run.restore()
    model.train()
    bar = tqdm(
        total=steps, initial=first, desc=label, unit="step", disable=not progress, mininterval=2
    )
    with bar, ctrl_c() as pressed:
        for done, (images, labels) in enumerate(feed.batches(first, steps), first + 1):
            value, hits = update(done, images, labels)
            meter.add(value, hits, count(labels))
            if on_step is not None:
                on_step(Step(done, steps, value))
            bar.update()
            if done % every == 0 or done == steps:
                curve.append(meter.point(done, done / feed.per_epoch))
                bar.set_postfix(loss=f"{curve[-1].loss:.3f}", top1=f"{curve[-1].accuracy:.1f}%")
                if done // save_every != (done - every) // save_every:
                    _save(run, done, curve, pressed)
            if pressed.is_set():
                _save(run, done, curve, pressed)
                raise KeyboardInterrupt
    run.discard()
    model.eval()
    return curve


def _save(run: _Run, done: int, curve: list[Point], pressed: Event) -> None:
    """Save a run; where Ctrl-C was pressed, it ends as interrupted even if the disk is full."""
    try:
        run.save(done, curve)
    except DataError as error:
        if pressed.is_set():
            raise KeyboardInterrupt(str(error)) from error
        raise


def _feed(data: Pictures | Iterable[Any], plan: Plan) -> Feed:
    if hasattr(data, "images"):
        return Shuffled(cast(Pictures, data), plan.batch_size, plan.seed, plan.augment)
    return AsTheyAre(data)


class CrossEntropy:
    """Cross-entropy of logits ``[N, C]`` and classes ``[N]``, which are looked at first.

    Raises:
        InvalidInputError: several outputs, or labels that are no classes of the outputs.
    """

    def __init__(self, smoothing: float = 0.0) -> None:
        self.loss = nn.CrossEntropyLoss(label_smoothing=smoothing)

    def __call__(self, logits: Any, labels: Any) -> Tensor:
        if not (isinstance(logits, Tensor) and isinstance(labels, Tensor)):
            found = ", ".join(logits) if isinstance(logits, Mapping) else "one output"
            named = f"labels {', '.join(labels)}" if isinstance(labels, Mapping) else "one tensor"
            raise InvalidInputError(
                f"Cross-entropy needs one output and one tensor of labels, got {found} and {named}."
                " Give a loss: finetune(sim, data, loss=lambda outputs, labels: ...)."
            )
        value: Tensor = self.loss(logits, checked_classes(labels, logits))
        return value


def checked_classes(labels: Tensor, logits: Tensor) -> Tensor:
    """Labels as int64, if they are classes ``0 .. C-1`` of the outputs ``[N, C, ...]``.

    Raises:
        InvalidInputError: outputs without classes, labels of another shape (one-hot, say), not
            integers, or out of range.
    """
    mend = "Or give a loss= of your own"
    if logits.ndim < 2:
        raise InvalidInputError(
            f"outputs {list(logits.shape)} tell no classes apart: return logits [N, C]. {mend}"
        )
    classes, wanted = logits.shape[1], [len(logits), *logits.shape[2:]]
    if list(labels.shape) != wanted or labels.is_floating_point() or labels.dtype == torch.bool:
        hint = (
            "labels.argmax(1) makes them of one-hot rows, " if labels.shape == logits.shape else ""
        )
        raise InvalidInputError(
            f"labels of shape {list(labels.shape)} and {labels.dtype} are no class numbers "
            f"{wanted}: {hint}. {mend}"
        )
    low, high = (int(end) for end in labels.aminmax())
    if low < 0 or high >= classes:
        raise InvalidInputError(
            f"labels reach from {low} to {high}, but the model tells {classes} classes apart "
            f"(0..{classes - 1})"
        )
    return labels.long()


class _Update:
    """One optimizer step: forward, loss, backward, update at the planned learning rate."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        prepare: Callable[[Tensors], Tensors],
        criterion: Loss,
        plan: Plan,
        steps: int,
        clip_norm: float | None,
        label: str,
    ) -> None:
        self.model, self.optimizer, self.prepare = model, optimizer, prepare
        self.criterion, self.plan, self.steps = criterion, plan, steps
        self.clip_norm, self.label = clip_norm, label
        self.device = next(model.parameters()).device
        self.base_rates = [group["lr"] for group in optimizer.param_groups]

    def __call__(self, done: int, images: Tensors, labels: Tensors) -> tuple[float, float | None]:
        """Do the step after which ``done`` are done; returns the loss and the number of hits."""
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * self.plan.rate(done - 1, self.steps)
        x, y = self.prepare(_to(images, self.device)), _to(labels, self.device)
        self.optimizer.zero_grad(set_to_none=True)
        outputs: Tensors = self.model(x)
        value = self.criterion(outputs, y)
        loss = float(value.detach())
        if not math.isfinite(loss):
            raise InvalidInputError(
                f"{self.label}: the loss became {loss} at step {done}: look for NaN or Inf in the "
                f"data, or lower the learning rate (now {self.plan.learning_rate})"
            )
        value.backward()  # type: ignore[no-untyped-call]
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        return loss, _hits(outputs, y)


def _to(tensors: Tensors, device: torch.device) -> Tensors:
    if isinstance(tensors, Tensor):
        return tensors.to(device)
    return rebuilt(tensors, {name: x.to(device) for name, x in flat(tensors).items()})


def _hits(logits: Tensors, labels: Tensors) -> float | None:
    """How many classes are right (share of an input's, if it has many); None without classes."""
    if not (isinstance(logits, Tensor) and isinstance(labels, Tensor)):
        return None
    if logits.ndim < 2 or labels.shape != logits.argmax(1).shape or labels.is_floating_point():
        return None
    return float((logits.argmax(1) == labels).sum()) / labels[0].numel()


@dataclass
class _Meter:
    """Loss and hits since the last point of the curve."""

    losses: list[float] = field(default_factory=list)
    hits: float = 0
    seen: int = 0

    def add(self, loss: float, hits: float | None, seen: int) -> None:
        """Count one batch; ``hits`` is None where there are no classes."""
        self.losses.append(loss)
        self.hits += math.nan if hits is None else hits
        self.seen += seen

    def point(self, step: int, epoch: float) -> Point:
        """The means so far as a point; starts anew."""
        mean = sum(self.losses) / len(self.losses)
        point = Point(step, epoch, mean, 100 * self.hits / self.seen)
        self.losses, self.hits, self.seen = [], 0, 0
        return point


class _Run:
    """The state of an interrupted run on disk: weights, optimizer, step, curve."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        plan: Plan,
        path: Path | None,
        key: str = "",
    ) -> None:
        self.model, self.optimizer, self.path, self.key = model, optimizer, path, key
        self.plan = asdict(plan)

    def restore(self) -> tuple[int, list[Point]]:
        """Load the interrupted run of this very plan and key; (0, []) if there is none.

        Raises:
            DataError: the file holds no such run; the model and the optimizer are as they were.
        """
        if self.path is None or not self.path.is_file():
            return 0, []
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if (state["plan"], state["key"]) != (self.plan, self.key):
                return 0, []
            step, curve = int(state["step"]), [Point(**point) for point in state["curve"]]
            if _shapes(state["model"]) != _shapes(self.model.state_dict()):
                raise ValueError("its weights have other names or shapes")
            self.optimizer.load_state_dict(state["optimizer"])  # checks before it changes anything
            self.model.load_state_dict(state["model"])
            return step, curve
        except Exception as error:  # whatever a file of any content makes torch.load raise
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise DataError(
                f"{self.path} does not hold an interrupted run of this model ({reason[:120]}). "
                f"Delete it to train from the beginning."
            ) from error

    def save(self, step: int, curve: list[Point]) -> None:
        """Write the state after ``step`` steps, atomically."""
        if self.path is None:
            return
        state = {
            "plan": self.plan,
            "key": self.key,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": step,
            "curve": [asdict(point) for point in curve],
        }
        content = io.BytesIO()  # torch.save meets a full disk with an error of its own
        torch.save(state, content)
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(content.getbuffer())

    def discard(self) -> None:
        """Delete the file of a run that reached its end."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}
