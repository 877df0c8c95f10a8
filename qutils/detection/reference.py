"""Training and exporting with Ultralytics, as a user would do it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tqdm.auto import tqdm

from qutils.detection import process, ultralytics
from qutils.detection.dataset import DetectionData
from qutils.detection.labels import label_file
from qutils.detection.links import write_yaml
from qutils.detection.miniature import architecture
from qutils.errors import DataError, InvalidInputError, UnsupportedError, unknown_name
from qutils.files import write_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Training:
    """How a detector is trained from scratch: AdamW, each picture seen ``epochs`` times.

    Pictures that are drawn anew are varied enough: no mosaics. The learning rate falls linearly
    from ``lr`` to a hundredth. One step for each batch: Ultralytics would gather 64 pictures.

    Raises:
        InvalidInputError: a number below its least.
    """

    size: int = 160  # pixels
    epochs: int = 3
    batch: int = 16
    lr: float = 0.002
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1 or not self.lr > 0 or self.size < 32 or self.size % 32:
            raise InvalidInputError(
                f"epochs and batch are at least 1, lr is above 0, size a multiple of 32: got {self}"
            )

    @property
    def options(self) -> dict[str, Any]:
        """The same in Ultralytics' words."""
        return {
            "epochs": self.epochs,
            "imgsz": self.size,
            "batch": self.batch,
            "nbs": self.batch,
            "lr0": self.lr,
            "seed": self.seed,
            "optimizer": "AdamW",
            "warmup_epochs": 0.5,
            "mosaic": 0.0,
            "close_mosaic": 0,
            "scale": 0.2,
            "cache": "ram",
            "workers": 0,
            "device": "cpu",
            "amp": False,
            "pretrained": False,
            "plots": False,
            "val": False,
            "exist_ok": True,
        }


def train(
    network: str, data: DetectionData, out: str | Path, training: Training | None = None
) -> Path:
    """Train ``yolo11n``, ``yolo11n-mini`` or another network; return ``out``, its weights (.pt).

    An interrupted run goes on after its last whole epoch. If ``out`` was trained so already, on the
    same data, nothing is done.

    Raises:
        MissingPackageError: the extra is not installed.
        InvalidInputError: ``out`` is no .pt file.
        DataError: images or labels are invalid.
        UnsupportedError: the package failed; with its last words.
    """
    ultralytics.library()
    out, training = Path(out).resolve(), training or Training()
    if out.suffix != ".pt":
        raise InvalidInputError(f"weights are written as .pt, not {out.name}")
    made = {"network": network, **asdict(training), "data": _identity(data)}
    if _note(out).get("made") == made:
        return out
    with _alone(out):
        if _note(out).get("made") == made:
            return out  # somebody else's run made it meanwhile
        data.check("train")  # the package would leave out what is invalid
        work = out.with_suffix(".training")
        weights = _trained(network, data, work, training, json.dumps(made))
        note = out.with_suffix(".json")
        took = _spent(work)
        note.unlink(missing_ok=True)  # it tells of the weights that are replaced
        os.replace(weights, out)
        write_text(note, json.dumps({"made": made, "took": asdict(took)}))
        shutil.rmtree(work)
    return out


@dataclass(frozen=True)
class TrainingTime:
    """What a training took, starting Ultralytics included, and the threads of its last epoch."""

    seconds: float
    threads: int


def training_time(weights: Path) -> TrainingTime | None:
    """What ``train`` took for these weights.

    Of an interrupted run those epochs count that were not lost. None of weights that it did not
    make.
    """
    took = _note(weights).get("took")
    try:
        return TrainingTime(float(took["seconds"]), int(took["threads"]))  # type: ignore[index]
    except (KeyError, TypeError, ValueError):  # none, or what an earlier version wrote
        return None


def _note(weights: Path) -> dict[str, Any]:
    """What ``train`` wrote beside weights; empty without the one or the other."""
    try:
        note = json.loads(weights.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return {}
    return note if weights.is_file() and isinstance(note, dict) else {}


def _spent(work: Path) -> TrainingTime:
    """What a training took so far."""
    path = work / "took.json"
    return TrainingTime(**json.loads(path.read_text())) if path.is_file() else TrainingTime(0.0, 0)


def _trained(network: str, data: DetectionData, work: Path, training: Training, made: str) -> str:
    """Train in ``work``, from where an interrupted run of the same kind stopped."""
    last = work / "run" / "weights" / "last.pt"
    if not (work / "made.json").is_file() or (work / "made.json").read_text() != made:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_text(work / "made.json", made)
    used = replace(data, splits={split: data.pictures(split) for split in ("train", "val")})
    options = {
        "data": str(write_yaml(used, work)),
        "project": str(work),
        "name": "run",
        **training.options,
    }
    spent = _spent(work) if last.is_file() else TrainingTime(0.0, 0)
    before, threads, begun = spent.seconds, spent.threads, time.monotonic()

    def clock() -> None:
        took = TrainingTime(round(before + time.monotonic() - begun, 1), threads)
        write_text(work / "took.json", json.dumps(asdict(took)))

    with tqdm(total=training.epochs, desc=f"training {network}", unit="epoch") as bar:

        def told(event: Mapping[str, Any]) -> None:
            nonlocal threads
            threads = int(event["threads"])
            bar.update(int(event["epoch"]) - bar.n)
            clock()

        weights = ""
        if last.is_file():
            try:
                weights = process.run(
                    "train", {"start": str(last), "resume": True, **options}, work, told
                )
            except UnsupportedError:  # stopped at the very end, or in the middle of writing
                shutil.rmtree(work / "run")
                before, begun = 0.0, time.monotonic()
        if not weights:
            anew = {"start": architecture(network, work), "resume": False, **options}
            weights = process.run("train", anew, work, told)
    clock()
    return weights


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Wait while another process trains the same weights."""
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_suffix(".lock")
    with path.open("w") as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _identity(data: DetectionData) -> str:
    """SHA-256 of what is trained on: names of classes, of pictures, their sizes and labels."""
    digest = hashlib.sha256(repr(data.names).encode())
    try:
        for path in data.pictures("train"):
            labels = label_file(path)
            digest.update(f"{path.name} {path.stat().st_size}".encode())
            digest.update(labels.read_bytes() if labels.is_file() else b"")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


@dataclass(frozen=True)
class Format:
    """One of the package's formats."""

    name: str
    file: str  # what a runtime reads of it; {} is the stem


#: By runtime.
FORMATS = MappingProxyType(
    {
        "onnxruntime": Format("onnx", ""),
        "openvino": Format("openvino", "{}.xml"),
        "litert": Format("litert", ""),
    }
)


def export_reference(
    weights: str | Path,
    runtime: str,
    folder: str | Path,
    *,
    size: int,
    data: DetectionData | None = None,
    split: str = "calibration",
) -> Path:
    """What Ultralytics' own exporter makes of ``weights``: INT8 with ``data``, else FP32.

    It is run as a user runs it, ``YOLO(weights).export(format=..., quantize=8, data=...)``, on a
    copy of the weights in a folder of its own: it deletes and replaces files beside them. It runs
    in a process that is kept for the next export.

    Args:
        folder: where the file goes, under the name that the exporter gives it.
        split: the pictures that give it ranges. Its own default is ``val``, the split that is
            scored.

    Returns:
        the file that the runtime reads, for OpenVINO the ``.xml``.

    Raises:
        MissingPackageError: the extra is not installed.
        InvalidInputError: no such runtime among its formats.
        DataError: the weights are missing; images or labels are invalid.
        UnsupportedError: the exporter failed; with its last words.
    """
    ultralytics.library()
    if runtime not in FORMATS:
        raise unknown_name("runtime of the exporter", runtime, FORMATS)
    weights, folder, form = Path(weights), Path(folder), FORMATS[runtime]
    if not weights.is_file():
        raise DataError(f"{weights} is missing: give weights of Ultralytics (.pt)")
    if data is not None:
        data.check(split, labels=False)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as name:
        work = Path(name).resolve()
        copied = shutil.copy(weights, work / weights.name)
        options: dict[str, Any] = {"start": str(copied), "format": form.name, "imgsz": size}
        if data is not None:
            options |= {"quantize": 8, "data": str(write_yaml(data.alone(split), work))}
        made = Path(process.EXPORTS.run("export", options, work))
        target = folder / made.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(made, target)
    return target / form.file.format(weights.stem) if form.file else target
