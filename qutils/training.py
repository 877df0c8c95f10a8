"""One deterministic, resumable training loop, shared by FP32 training and QAT."""

from __future__ import annotations

import math
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from qutils.errors import DataError, InvalidInputError
from qutils.files import atomic_path

Loss = Callable[[Tensor, Tensor], Tensor]


class Pictures(Protocol):
    """What training needs of data: ``images [N, ...]``, ``labels [N]``, and how to prepare them."""

    @property
    def images(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...
    def prepare(self, images: Tensor) -> Tensor:
        """Stored images (uint8, say) to network input."""
        ...


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
        if self.epochs <= 0 or self.learning_rate <= 0 or self.batch_size < 1:
            raise InvalidInputError(
                f"epochs, learning rate and batch size must be positive: {self}"
            )

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
    accuracy: float  # percent of the training batches since the last point


def shift_and_flip(images: Tensor, generator: torch.Generator, pad: int = 2) -> Tensor:
    """Random shift by up to ``pad`` pixels and mirror: uint8 ``[N, C, H, W]`` -> the same."""
    n, _, height, width = images.shape
    padded = nn.functional.pad(images, (pad,) * 4)
    offset = torch.randint(0, 2 * pad + 1, (n, 2), generator=generator)
    flip = torch.randint(0, 2, (n, 1), generator=generator).bool()
    rows = offset[:, :1] + torch.arange(height)  # [N, H]
    cols = torch.arange(width).expand(n, width)
    cols = offset[:, 1:] + torch.where(flip, cols.flip(1), cols)  # [N, W]
    picture = torch.arange(n)[:, None, None]  # [N, 1, 1]
    picked = padded.permute(0, 2, 3, 1)[picture, rows[:, :, None], cols[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def _generator(*key: int) -> torch.Generator:
    """A generator for one place in the run, so that resuming needs no generator state."""
    seed = 0
    for part in key:
        seed = (seed * 1_000_003 + part + 1) % (1 << 63)
    return torch.Generator().manual_seed(seed)


def _batches(data: Pictures, plan: Plan, first: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of steps ``first .. steps-1``; each epoch has its own order."""
    per_epoch = len(data.labels) // plan.batch_size
    order, epoch = torch.empty(0, dtype=torch.long), -1
    for step in range(first, steps):
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            order = torch.randperm(len(data.labels), generator=_generator(plan.seed, 1, epoch))
        start = (step % per_epoch) * plan.batch_size
        index = order[start : start + plan.batch_size]
        images = data.images[index]
        if plan.augment:
            images = shift_and_flip(images, _generator(plan.seed, 2, step))
        yield images, data.labels[index]


def fit(
    model: nn.Module,
    data: Pictures,
    plan: Plan,
    optimizer: torch.optim.Optimizer,
    prepare: Callable[[Tensor], Tensor],
    *,
    loss: Loss | None = None,
    resume: Path | None = None,
    save_every: int = 200,
    points: int = 50,
    label: str = "training",
    progress: bool = True,
    clip_norm: float | None = None,
) -> list[Point]:
    """Train ``model`` in place and return its learning curve.

    The order of pictures and their augmentation depend on ``plan.seed`` and the step alone, so an
    interrupted run continued from ``resume`` gives the weights an unbroken run would have given.
    Ctrl-C takes effect between two steps (pressed twice: at once, without saving).

    Args:
        prepare: uint8 ``[B, C, H, W]`` -> network input.
        resume: file of the interrupted run; written about every ``save_every`` steps and on
            Ctrl-C, deleted at the end.
        points: about how many points the learning curve has.
        clip_norm: largest norm of all gradients together.

    Raises:
        InvalidInputError: the split holds less than one batch, or the loss became NaN or Inf.
        DataError: the file of the interrupted run is unreadable.
    """
    per_epoch = _steps_per_epoch(data, plan)
    steps = max(1, round(plan.epochs * per_epoch))
    every = max(1, steps // points)
    criterion = loss or nn.CrossEntropyLoss(label_smoothing=plan.label_smoothing)
    update = _Update(model, optimizer, prepare, criterion, plan, steps, clip_norm, label)
    run, meter = _Run(model, optimizer, plan, resume), _Meter()
    first, curve = run.restore()
    model.train()
    bar = tqdm(
        total=steps, initial=first, desc=label, unit="step", disable=not progress, mininterval=2
    )
    with bar, _ctrl_c() as pressed:
        for done, (images, labels) in enumerate(_batches(data, plan, first, steps), first + 1):
            meter.add(*update(done, images, labels), len(labels))
            bar.update()
            if done % every == 0 or done == steps:
                curve.append(meter.point(done, done / per_epoch))
                bar.set_postfix(loss=f"{curve[-1].loss:.3f}", top1=f"{curve[-1].accuracy:.1f}%")
                if done // save_every != (done - every) // save_every:
                    run.save(done, curve)
            if pressed.is_set():
                run.save(done, curve)
                raise KeyboardInterrupt
    run.discard()
    model.eval()
    return curve


def _steps_per_epoch(data: Pictures, plan: Plan) -> int:
    """Full batches in the split."""
    if len(data.labels) < plan.batch_size:
        raise InvalidInputError(
            f"{len(data.labels)} pictures do not fill one batch of {plan.batch_size}: "
            f"give more pictures or a smaller batch"
        )
    return len(data.labels) // plan.batch_size


@contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that no step is left half done; the second raises.

    Signals reach the main thread only: elsewhere the event is never set.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def handler(signum: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


class _Update:
    """One optimizer step: forward, loss, backward, update at the planned learning rate."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        prepare: Callable[[Tensor], Tensor],
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

    def __call__(self, done: int, images: Tensor, labels: Tensor) -> tuple[float, int]:
        """Do the step after which ``done`` are done; returns the loss and the number of hits."""
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * self.plan.rate(done - 1, self.steps)
        x, y = self.prepare(images.to(self.device)), labels.to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        logits: Tensor = self.model(x)
        value = self.criterion(logits, y)
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
        return loss, int((logits.detach().argmax(1) == y).sum())


@dataclass
class _Meter:
    """Loss and hits since the last point of the curve."""

    losses: list[float] = field(default_factory=list)
    hits: int = 0
    seen: int = 0

    def add(self, loss: float, hits: int, seen: int) -> None:
        """Count one batch."""
        self.losses.append(loss)
        self.hits, self.seen = self.hits + hits, self.seen + seen

    def point(self, step: int, epoch: float) -> Point:
        """The means so far as a point; starts anew."""
        mean = sum(self.losses) / len(self.losses)
        point = Point(step, epoch, mean, 100 * self.hits / self.seen)
        self.losses, self.hits, self.seen = [], 0, 0
        return point


class _Run:
    """The state of an interrupted run on disk: weights, optimizer, step, curve."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan, path: Path | None
    ) -> None:
        self.model, self.optimizer, self.path = model, optimizer, path
        self.plan = asdict(plan)

    def restore(self) -> tuple[int, list[Point]]:
        """Load the interrupted run of this very plan; (0, []) if there is none."""
        if self.path is None or not self.path.is_file():
            return 0, []
        try:
            state = torch.load(self.path, weights_only=True)
            if state["plan"] != self.plan:
                return 0, []
            curve = [Point(**point) for point in state["curve"]]
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            return int(state["step"]), curve
        except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise DataError(
                f"{self.path} does not hold an interrupted run of this model ({error}). "
                f"Delete it to train from the beginning."
            ) from error

    def save(self, step: int, curve: list[Point]) -> None:
        """Write the state after ``step`` steps, atomically."""
        if self.path is None:
            return
        state = {
            "plan": self.plan,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": step,
            "curve": [asdict(point) for point in curve],
        }
        with atomic_path(self.path) as temporary:
            torch.save(state, temporary)

    def discard(self) -> None:
        """Delete the file of a run that reached its end."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
