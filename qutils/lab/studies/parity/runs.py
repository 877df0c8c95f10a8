"""One network in every runtime, beside the integer reference of the same ranges."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor
from tqdm.auto import tqdm

from qutils import zoo
from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.backends.runtimes import RUNTIMES
from qutils.evaluate.analysis.departures import Departure, departures
from qutils.evaluate.analysis.parity import Executor, Parity, Simulation, parity
from qutils.files import checksums
from qutils.integer import IntegerReference
from qutils.lab.results.cache import Cache, source_digest
from qutils.lab.results.provenance import cpu_model, isa_flags, package_versions
from qutils.lab.studies.parity.plan import SIMULATION, Profile
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import Observation, observe
from qutils.quantize.simulate import SimulatedModel

#: Pictures of one pass.
BATCH = 50
#: Where the simulation is judged: its arithmetic is the same for every target.
_OF_SIMULATION = "onnxruntime"
#: Modules that the figures depend on.
_CODE = (
    *(
        "qutils.discovery",
        "qutils.feed",
        "qutils.isolated",
        "qutils.nested",
        "qutils.reading",
        "qutils.numerics",
        "qutils.graph",
    ),
    *("qutils.quantize", "qutils.integer", "qutils.backends", "qutils.evaluate.analysis"),
    *("qutils.zoo", "qutils.lab.studies.parity"),
)


@dataclass(frozen=True)
class Figures:
    """What was compared: one ``Parity`` for each model and executor, in order."""

    model: str
    parity: Parity
    kernels: tuple[tuple[str, int], ...] = ()  # operators that executed, most frequent first
    departures: tuple[Departure, ...] = ()  # layers with weights, if inner tensors are handed out


_JSON: TypeAdapter[Figures] = TypeAdapter(Figures)


def measure(size: Profile, cache: Cache | None = None) -> list[Figures]:
    """Compare the simulation and every runtime with the integer reference, with progress.

    Each runtime gets the file that is exported for it, from ranges observed once on the same
    calibration pictures; nothing is calibrated again. What is compared is kept by content: code,
    weights, data, versions and this CPU.
    """
    cache = cache or Cache()
    names = (SIMULATION, *size.runtimes)
    found = []
    with tqdm(total=len(size.models) * len(names), desc="parity", unit="runtime") as bar:
        for model in size.models:
            for name in names:
                bar.set_postfix_str(f"{model} {name}")
                compute = partial(_as_json, model, name, size)
                kept = cache.get_or_compute(_key(model, name, size), compute)
                found.append(_JSON.validate_python(kept))
                bar.update()
    cache.announce()
    return found


def _as_json(model: str, name: str, size: Profile) -> Any:
    return _JSON.dump_python(_measure(model, name, size), mode="json")


def _key(model: str, name: str, size: Profile) -> dict[str, object]:
    """What the figures of one model and executor depend on."""
    entry = zoo.entry(model)
    return {
        "parity": [model, name, size.pictures, size.layer_pictures, size.calibration_pictures],
        "source": source_digest(*_CODE),
        "weights": checksums(entry.checkpoint.parent)[entry.checkpoint.name],
        "data": checksums(zoo.data_folder(entry.dataset)),
        "versions": package_versions(),
        "machine": [cpu_model(), *isa_flags()],
    }


def _measure(model: str, name: str, size: Profile) -> Figures:
    sim = calibrated(model, _OF_SIMULATION if name == SIMULATION else name, size)
    reference = IntegerReference(sim)
    with tempfile.TemporaryDirectory() as folder:
        executor: Executor = Simulation(sim)
        kernels: tuple[tuple[str, int], ...] = ()
        if name != SIMULATION:
            path = export(sim, Path(folder) / f"{model}{RUNTIMES[name].suffix}")
            executor = runtime = runtimes.load(path, runtime=name)
            kernels = tuple(runtime.kernels().most_common())
        inside = parity(reference, executor, _pictures(model, size.layer_pictures), name)
        whole = parity(reference, executor, _pictures(model, size.pictures), name, layers=False)
        why: tuple[Departure, ...] = ()
        if inside.layers:
            why = departures(reference, executor, _pictures(model, size.layer_pictures))
    return Figures(model, replace(whole, layers=inside.layers), kernels, why)


def calibrated(model: str, target: str, size: Profile) -> SimulatedModel:
    """W8A8, minmax, per channel, placed for the target."""
    return _observed(model, target, size.calibration_pictures).simulate(Recipe())


@lru_cache(maxsize=1)  # the simulation and ONNX Runtime, which follow one another, share a target
def _observed(model: str, target: str, pictures: int) -> Observation:
    split = zoo.dataset(zoo.entry(model).dataset).calibration.take(pictures)
    return observe(zoo.load(model), split, target)


def _pictures(model: str, count: int) -> Iterator[Tensor]:
    test = zoo.dataset(zoo.entry(model).dataset).test.take(count)
    return (x for x, _ in test.batches(BATCH))
