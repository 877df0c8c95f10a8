"""How much each profile of the benchmark measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qutils.errors import InvalidInputError, known_names
from qutils.numerics.observers import OBSERVERS
from qutils.zoo import MODELS


@dataclass(frozen=True)
class Profile:
    """What is measured, and how often."""

    models: tuple[str, ...]
    batches: tuple[int, ...]
    repeats: int  # timed calls of each file
    threads: int
    calibration_pictures: int
    test_pictures: int
    observers: tuple[str, ...]
    memory_models: tuple[str, ...]
    memory_pictures: tuple[int, int]  # few, many
    memory_repeats: int  # processes for each figure
    step_batch: int
    step_repeats: int  # timed training steps


_BOTH, _ALL = tuple(MODELS), tuple(OBSERVERS)
PROFILES = {
    "smoke": Profile(
        ("resnet8",), (1, 32), 10, 1, 64, 256, ("minmax",), ("resnet8",), (64, 128), 1, 16, 5
    ),
    "default": Profile(
        _BOTH, (1, 32), 60, 1, 256, 2000, _ALL, ("mobilenetv2",), (256, 4096), 2, 128, 10
    ),
    "full": Profile(_BOTH, (1, 32), 200, 1, 512, 10_000, _ALL, _BOTH, (256, 4096), 3, 128, 25),
}


def choose(
    profile: str,
    models: Sequence[str] | None = None,
    batches: Sequence[int] | None = None,
    observers: Sequence[str] | None = None,
    repeats: int | None = None,
    threads: int = 1,
) -> Profile:
    """The profile of that name, with what is not None in place of its own.

    Raises:
        InvalidInputError: unknown profile, model or observer (suggests the closest); an empty
            list, a batch below 1, fewer than 5 repeats.
    """
    size = PROFILES[known_names("profile", [profile], PROFILES)[0]]
    if models is not None:
        chosen = known_names("model", models, MODELS)
        own = tuple(name for name in size.memory_models if name in chosen)
        size = replace(size, models=chosen, memory_models=own or chosen[-1:])
    if observers is not None:
        size = replace(size, observers=known_names("observer", observers, OBSERVERS))
    if batches is not None:
        if not batches or min(batches) < 1:
            raise InvalidInputError(f"batches must be numbers of at least 1, got {list(batches)}")
        size = replace(size, batches=tuple(dict.fromkeys(batches)))
    if repeats is not None:
        if repeats < 5:
            raise InvalidInputError(f"repeats must be at least 5, got {repeats}")
        size = replace(size, repeats=repeats)
    if threads < 1:
        raise InvalidInputError(f"threads must be at least 1, got {threads}")
    return replace(size, threads=threads)
