"""The training loop: deterministic under a seed, resumable, clear about bad input."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qutils.errors import DataError, InvalidInputError
from qutils.feed import shift_and_flip
from qutils.quantize.training import Plan, Point, fit

PLAN = Plan(epochs=3, learning_rate=0.1, batch_size=8, seed=1)  # 5 steps an epoch, 15 in all


def scaled(images: Tensor) -> Tensor:
    return images.float() / 255


@dataclass(frozen=True)
class Toy:
    """44 pictures of 6x6: dark ones are class 0, bright ones class 1; 4 do not fill a batch."""

    images: Tensor
    labels: Tensor
    prepare: Callable[[Tensor], Tensor] = scaled


@pytest.fixture
def toy() -> Toy:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(44) % 2
    noise = torch.randint(0, 100, (44, 1, 6, 6), generator=generator)
    return Toy((noise + 120 * labels[:, None, None, None]).to(torch.uint8), labels)


class Net(nn.Module):
    """Convolution, BatchNorm (which carries state of its own) and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(64, 2)
        self.calls = 0
        self.interrupt_at = 0  # call in which Ctrl-C is pressed, in the middle of a step

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        logits: Tensor = self.head(self.body(x))
        return logits


def run(
    toy: Toy, plan: Plan = PLAN, resume: Path | None = None, interrupt_at: int = 0, every: int = 200
) -> tuple[Net, list[Point]]:
    torch.manual_seed(plan.seed)
    model = Net()
    model.interrupt_at = interrupt_at
    optimizer = torch.optim.SGD(model.parameters(), lr=plan.learning_rate, momentum=0.9)
    curve = fit(model, toy, plan, optimizer, resume=resume, progress=False, save_every=every)
    return model, curve


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_training_learns_and_ends_in_eval_mode(toy: Toy) -> None:
    model, curve = run(toy, replace(PLAN, epochs=8))
    assert curve[-1].loss < 0.5 * curve[0].loss
    assert curve[-1].step == 40
    assert curve[-1].epoch == pytest.approx(8)
    assert not model.training
    assert (model(toy.prepare(toy.images)).argmax(1) == toy.labels).float().mean() > 0.9


def test_same_seed_same_weights_other_seed_other_weights(toy: Toy) -> None:
    first, first_curve = run(toy)
    second, second_curve = run(toy)
    other, _ = run(toy, replace(PLAN, seed=2))
    assert_same_weights(first, second)
    assert first_curve == second_curve
    assert not torch.equal(first.head.weight, other.head.weight)


@pytest.mark.parametrize("step", [1, 5, 7, 14], ids=lambda step: f"ctrl-c-in-step-{step}")
def test_interrupted_then_resumed_equals_unbroken(toy: Toy, tmp_path: Path, step: int) -> None:
    unbroken, curve = run(toy)
    saved = tmp_path / "toy.run"
    with pytest.raises(KeyboardInterrupt):
        run(toy, resume=saved, interrupt_at=step)
    resumed, resumed_curve = run(toy, resume=saved)
    assert resumed.calls == 15 - step  # nothing is done twice
    assert_same_weights(unbroken, resumed)
    assert resumed_curve == curve  # 15 steps, 50 points asked for: a point a step
    assert not saved.exists()


def test_killed_run_resumes_from_the_last_periodic_save(toy: Toy, tmp_path: Path) -> None:
    saved = tmp_path / "toy.run"

    def killed(images: Tensor) -> Tensor:
        killed.calls += 1  # type: ignore[attr-defined]
        if killed.calls == 11:  # type: ignore[attr-defined]
            raise SystemExit  # no time to save, as after a power cut
        return scaled(images)

    killed.calls = 0  # type: ignore[attr-defined]
    torch.manual_seed(PLAN.seed)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=PLAN.learning_rate, momentum=0.9)
    with pytest.raises(SystemExit):
        fit(
            model,
            replace(toy, prepare=killed),
            PLAN,
            optimizer,
            resume=saved,
            progress=False,
            save_every=4,
        )
    resumed, _ = run(toy, resume=saved)
    assert resumed.calls == 15 - 8
    assert_same_weights(run(toy)[0], resumed)


def test_run_of_another_plan_is_not_resumed(toy: Toy, tmp_path: Path) -> None:
    saved = tmp_path / "toy.run"
    with pytest.raises(KeyboardInterrupt):
        run(toy, resume=saved, interrupt_at=7)
    other = replace(PLAN, learning_rate=0.05)
    assert_same_weights(run(toy, other, resume=saved)[0], run(toy, other)[0])


def _without_head(state: Any) -> Any:
    weights = {k: v for k, v in state["model"].items() if k != "head.bias"}
    return state | {"model": weights}


def _other_groups(state: Any) -> Any:
    groups = state["optimizer"]["param_groups"]
    return state | {"optimizer": state["optimizer"] | {"param_groups": groups * 2}}


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"not a run", b"\n    Save an object to a disk file.\n"),
        *(lambda state: [1, 2], lambda state: {}, _without_head, _other_groups),
    ],
    ids=["empty", "text", "more-text", "list", "no-keys", "other-weights", "other-groups"],
)
def test_unreadable_run_names_the_mend_and_loads_nothing(
    toy: Toy, tmp_path: Path, damage: Any
) -> None:
    saved = tmp_path / "toy.run"
    with pytest.raises(KeyboardInterrupt):
        run(toy, resume=saved, interrupt_at=7)
    if isinstance(damage, bytes):
        saved.write_bytes(damage)
    else:
        torch.save(damage(torch.load(saved, weights_only=True)), saved)
    model, fresh = Net(), Net()
    fresh.load_state_dict(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(DataError, match="Delete it to train from the beginning") as caught:
        fit(model, toy, PLAN, optimizer, resume=saved, progress=False)
    assert "\n" not in str(caught.value)
    assert_same_weights(model, fresh)


def test_run_of_another_key_is_not_resumed(toy: Toy, tmp_path: Path) -> None:
    saved = tmp_path / "toy.run"
    with pytest.raises(KeyboardInterrupt):
        run(toy, resume=saved, interrupt_at=7)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, toy, PLAN, optimizer, resume=saved, key="another", progress=False)
    assert model.calls == 15


@pytest.mark.parametrize(("interrupt_at", "error"), [(7, KeyboardInterrupt), (0, DataError)])
def test_a_full_disk_is_named_and_does_not_swallow_ctrl_c(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupt_at: int, error: type
) -> None:
    def full(path: Path, content: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    every = 200 if interrupt_at else 1
    with pytest.raises(error, match="No space left on device"):
        run(toy, resume=tmp_path / "toy.run", interrupt_at=interrupt_at, every=every)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_handler_is_given_back(toy: Toy) -> None:
    before = signal.getsignal(signal.SIGINT)
    run(toy)
    assert signal.getsignal(signal.SIGINT) is before


def test_nan_in_the_weights_stops_training_and_keeps_the_saved_run(
    toy: Toy, tmp_path: Path
) -> None:
    saved = tmp_path / "toy.run"
    with pytest.raises(KeyboardInterrupt):
        run(toy, resume=saved, interrupt_at=3)
    earlier = saved.read_bytes()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def poisoned(images: Tensor) -> Tensor:
        return scaled(images) * torch.nan

    sick = replace(toy, prepare=poisoned)
    with pytest.raises(InvalidInputError, match="the loss became nan at step 4: .*lower the learn"):
        fit(model, sick, PLAN, optimizer, resume=saved, progress=False, save_every=1)
    assert saved.read_bytes() == earlier


def test_split_smaller_than_a_batch_is_refused(toy: Toy) -> None:
    with pytest.raises(InvalidInputError, match="44 pictures do not fill one batch of 45"):
        run(toy, replace(PLAN, batch_size=45))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"epochs": 0}, {"learning_rate": -1.0}, {"batch_size": 0}),
        *({"epochs": float("nan")}, {"epochs": float("inf")}, {"learning_rate": float("nan")}),
    ],
    ids=str,
)
def test_plan_refuses_what_cannot_train(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="must be a positive, finite number"):
        replace(PLAN, **wrong)  # type: ignore[arg-type]


def test_learning_rate_warms_up_then_falls_to_zero() -> None:
    rates = [Plan(epochs=1, learning_rate=1.0, warmup=0.1).rate(step, 100) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0.0)


def test_fractions_of_an_epoch_are_trained(toy: Toy) -> None:
    assert run(toy, replace(PLAN, epochs=0.4))[1][-1].step == 2


@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (3, 3, 8, 12)], ids=str)
def test_shift_and_flip_keeps_shape_and_type(shape: tuple[int, ...]) -> None:
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    moved = shift_and_flip(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    assert moved.dtype == torch.uint8


def test_shift_and_flip_moves_a_point_by_at_most_the_padding_or_mirrors_it() -> None:
    images = torch.zeros(200, 1, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 3] = 255  # mirrored: column 5
    moved = shift_and_flip(images, torch.Generator().manual_seed(0))
    picture, _, rows, cols = moved.nonzero(as_tuple=True)
    assert picture.tolist() == list(range(200))  # the point is still there, once in each
    assert set(rows.tolist()) == {2, 3, 4, 5, 6}
    assert set(cols.tolist()) == set(range(1, 8))  # 3 +- 2 and 5 +- 2
