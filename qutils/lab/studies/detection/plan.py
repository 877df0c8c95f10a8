"""What each profile of the detection report trains, quantizes and compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qutils.backends.runtimes import RUNTIMES
from qutils.detection.generate import ShapesPlan
from qutils.detection.miniature import MINIATURE
from qutils.detection.reference import FORMATS, Training
from qutils.errors import DataError, InvalidInputError, known_names
from qutils.numerics.observers import OBSERVERS

#: Networks of Ultralytics that the report starts from, trained on its own pictures.
NETWORKS = ("yolo11n", "yolo26n")


@dataclass(frozen=True)
class Profile:
    """How much is trained, calibrated and scored; ``repeats`` are timed calls.

    With ``qat_epochs`` a file of ours is trained that long on ``qat_pictures`` as well, for
    ``qat_runtimes``.

    With ``miniature`` miniatures of the networks are trained in their place.

    ``data`` and ``weights`` are a user's own; None is the generated dataset, and networks that are
    trained on it. ``missing`` are runtimes that this machine lacks, with what installs each.
    """

    shapes: ShapesPlan
    training: Training
    networks: tuple[str, ...]
    calibration: int
    repeats: int
    qat_epochs: float
    qat_pictures: int = 1024
    qat_runtimes: tuple[str, ...] = ("litert",)
    runtimes: tuple[str, ...] = tuple(FORMATS)
    observer: str = "mse"
    data: Path | None = None
    weights: tuple[Path, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    miniature: bool = False

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the networks that are trained, by which tables call them."""
        return tuple(f"{name}{MINIATURE if self.miniature else ''}" for name in self.networks)

    @property
    def size(self) -> int:
        """Height and width of pictures [pixels]."""
        return self.training.size


_SMOKE = ShapesPlan(train=16, calibration=8, val=8, size=64)
PROFILES = {
    "smoke": Profile(
        _SMOKE, Training(size=64, epochs=1, batch=8), NETWORKS[:1], 8, 5, 0.0, miniature=True
    ),
    "default": Profile(ShapesPlan(), Training(), NETWORKS, 128, 60, 0.0),
    "full": Profile(ShapesPlan(), Training(), NETWORKS, 128, 300, 1.0),
}


def choose(
    profile: str,
    networks: Sequence[str] | None = None,
    runtimes: Sequence[str] | None = None,
    *,
    data: str | None = None,
    weights: Sequence[str] | None = None,
    size: int | None = None,
    observer: str | None = None,
) -> Profile:
    """The profile of that name, with what is not None in place of its own.

    Args:
        data: YAML of a dataset of one's own, in YOLO's format, or a name on Ultralytics' list.
        weights: ``.pt`` files of Ultralytics, which are then not trained. A bare name that is not
            there is fetched by Ultralytics.

    Raises:
        InvalidInputError: unknown profile, network, runtime or observer (suggests the closest); a
            size that is no multiple of 32.
        DataError: data or weights are missing.
        MissingPackageError: a runtime that is asked for by name is not installed.
    """
    chosen = PROFILES[known_names("profile", [profile], PROFILES)[0]]
    if networks is not None:
        chosen = replace(chosen, networks=known_names("network", networks, NETWORKS))
    if observer is not None:
        chosen = replace(chosen, observer=known_names("observer", [observer], OBSERVERS)[0])
    if size is not None:
        training, shapes = replace(chosen.training, size=size), replace(chosen.shapes, size=size)
        chosen = replace(chosen, training=training, shapes=shapes)
    if weights is not None and not weights:
        raise InvalidInputError("weights is an empty list: name .pt files, or leave it at None")
    files = tuple(Path(path) for path in weights or ())
    for path in (*files, *([Path(data)] if data is not None else [])):
        if not path.is_file() and path.parent != Path("."):  # a bare name may be fetched
            raise DataError(f"{path} is missing: correct its path (relative to the notebook)")
    stems = [path.stem for path in files]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise InvalidInputError(
            f"two weights are called {twice}, which is what the tables call them: rename one"
        )
    chosen = replace(chosen, weights=files, data=None if data is None else Path(data))
    if runtimes is not None:
        names = known_names("runtime", runtimes, FORMATS)
        for name in names:
            RUNTIMES[name].get()
        return replace(chosen, runtimes=names)
    here = tuple(name for name in FORMATS if RUNTIMES[name].installed)
    missing = tuple((n, RUNTIMES[n].install) for n in FORMATS if n not in here)
    return replace(chosen, runtimes=here, missing=missing)
