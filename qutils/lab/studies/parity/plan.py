"""What each profile of the parity report compares, and on how many pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qutils.backends.runtimes import RUNTIMES
from qutils.errors import InvalidInputError, known_names
from qutils.zoo import MODELS

#: The float simulation, judged like a runtime.
SIMULATION = "simulation"


@dataclass(frozen=True)
class Profile:
    """``pictures`` give outputs; the first ``layer_pictures`` of them inner tensors as well.

    ``missing`` are runtimes that this machine lacks, by name, with the command that installs each.
    """

    models: tuple[str, ...]
    runtimes: tuple[str, ...]
    pictures: int
    layer_pictures: int
    calibration_pictures: int
    missing: tuple[tuple[str, str], ...] = ()


_BOTH = tuple(MODELS)
PROFILES = {
    "smoke": Profile(("resnet8",), (), 60, 20, 64),
    "default": Profile(_BOTH, (), 500, 100, 256),
    "full": Profile(_BOTH, (), 10_000, 1000, 256),
}


def choose(
    profile: str,
    models: Sequence[str] | None = None,
    runtimes: Sequence[str] | None = None,
    pictures: int | None = None,
) -> Profile:
    """The profile of that name, with what is not None in place of its own.

    Runtimes left at None are all that are installed and take the networks' files.

    Raises:
        InvalidInputError: unknown profile, model or runtime (suggests the closest); an empty list,
            no pictures.
        MissingPackageError: a runtime that is asked for by name is not installed.
    """
    size = PROFILES[known_names("profile", [profile], PROFILES)[0]]
    if models is not None:
        size = replace(size, models=known_names("model", models, MODELS))
    if pictures is not None:
        if pictures < 1:
            raise InvalidInputError(f"pictures must be at least 1, got {pictures}")
        layer_pictures = min(pictures, size.layer_pictures)
        size = replace(size, pictures=pictures, layer_pictures=layer_pictures)
    if runtimes is not None:
        chosen = known_names("runtime", runtimes, RUNTIMES)
        for name in chosen:
            RUNTIMES[name].get()
        return replace(size, runtimes=chosen)
    here = tuple(name for name, entry in RUNTIMES.items() if entry.installed)
    missing = tuple((n, entry.install) for n, entry in RUNTIMES.items() if n not in here)
    return replace(size, runtimes=here, missing=missing)
