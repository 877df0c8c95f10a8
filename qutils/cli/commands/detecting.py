"""What ``qutils detector`` does: check everything, calibrate, follow, export, score."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qutils import detection
from qutils.backends import runtimes, targets_of
from qutils.backends.runtimes import RUNTIMES
from qutils.errors import DataError, InvalidInputError, UnsupportedError
from qutils.lab.runner.staging import probe_write

#: Pictures that a network is trained on when it follows its float self.
FOLLOWED = 1024


@dataclass(frozen=True)
class Asked:
    """The arguments of the command."""

    weights: Path
    out: Path
    data: str
    size: int
    head: str
    pictures: int
    observer: str
    target: str | None
    qat_epochs: float
    keep_float: tuple[str, ...]

    @property
    def runtime(self) -> str:
        """What will run the file, by its ending unless told.

        Raises:
            InvalidInputError: an ending that no runtime of ours reads, or another one's.
        """
        fitting = targets_of(self.out)
        if not fitting or (self.target is not None and self.target not in fitting):
            wanted = f" for {self.target}" if self.target else ""
            chosen = [self.target] if self.target else RUNTIMES
            endings = {RUNTIMES[name].suffix for name in chosen}
            raise InvalidInputError(
                f"{self.out} has no fitting ending{wanted}: end it in "
                f"{' or '.join(sorted(endings))}"
            )
        return self.target or fitting[0]


def _checked(
    data: detection.DetectionData, chosen: tuple[Path, ...], followed: tuple[Path, ...], score: bool
) -> tuple[detection.SplitReport, ...]:
    """Check all that will be read; labels are needed only to score."""
    used = data.only("calibration", chosen)
    if followed:
        used = used.only("train", followed)
    reports = used.check("calibration", *(["train"] if followed else []), labels=False)
    return reports + (used.check("val") if score else ())


def quantize_detector(asked: Asked, *, score: bool) -> Iterator[str]:
    """Quantize as asked; yields the lines of the summary.

    Raises:
        InvalidInputError: something asked for cannot be done; nothing is written.
        DataError: a file cannot be read or written; pictures that are scored give ranges.
        UnsupportedError: weights of another task, a target without kernels.
        MissingPackageError: the extra or the runtime is not installed.
    """
    runtime = asked.runtime
    RUNTIMES[runtime].require_installed()
    if not asked.weights.is_file() and asked.weights.parent != Path("."):
        raise DataError(f"{asked.weights} is missing: correct its path")
    probe_write(asked.out.resolve().parent)
    weights = detection.read_weights(asked.weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the lines below tell the same
        data = detection.find_dataset(asked.data)
        data.check_names(weights.names, asked.weights)
        chosen = data.calibration(asked.pictures)
        followed = data.pictures("train")[:FOLLOWED] if asked.qat_epochs else ()
        reports = _checked(data, chosen, followed, score)
    yield from (f"{data.yaml}: {note}" for note in data.notes)
    yield from map(str, reports)
    plain = detection.normalized(runtime)
    detector = detection.as_detector(weights, asked.size, asked.head, normalized=plain)
    sim = detection.calibrate_detector(
        detector,
        detection.PictureFiles(chosen, asked.size),
        runtime,
        observer=asked.observer,
        keep_float=asked.keep_float,
        progress=True,
    )
    if asked.qat_epochs:
        pictures = detection.PictureFiles(followed, asked.size)
        sim = detection.finetune_detector(sim, detector, pictures, epochs=asked.qat_epochs)
    detection.export_detector(sim, asked.out, weights.names)
    yield f"{asked.out}: {asked.out.stat().st_size:,} bytes, W8A8 for {runtime}"
    yield f"  ranges of {len(chosen)} pictures ({chosen[0].parent.name}) by {asked.observer}"
    try:
        file = runtimes.load(asked.out, runtime)
    except UnsupportedError as error:
        yield f"not run here: {error}"
        return
    executed = ", ".join(f"{count} {name}" for name, count in file.kernels().most_common(6))
    yield f"  executes {executed}, ..."
    if score:
        for name, computes in (("FP32, torch", detector), (f"INT8, {runtime}", file)):
            found = detection.Prediction(computes, plain)
            second = asked.head == "one2one"
            predict = detection.EndToEnd(found) if second else found
            got = detection.score(predict, data, asked.size, end_to_end=second)
            yield (
                f"{name}: mAP50 {got.map50:.2f} %, mAP50-95 {got.map50_95:.2f} %, "
                f"{got.pictures:,} pictures"
            )
