"""Why is INT8 not faster? Everything that can be measured about one file, as data and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from qutils.backends.onnxruntime.runtime import OnnxRuntime
from qutils.backends.shared.cpu import saturates
from qutils.backends.shared.overflow import overflowing
from qutils.backends.shared.qdq_graph import integer_operators
from qutils.backends.shared.runtime import Arrays, RuntimeOptions
from qutils.cores import core_count
from qutils.errors import InvalidInputError, QutilsError, UnsupportedError
from qutils.evaluate import bench
from qutils.evaluate.bench.latency import in_turns, paired_ratio, samples_of
from qutils.evaluate.explain.busy import Load, load_of, share_of_core
from qutils.evaluate.explain.cpu import Offer, offers
from qutils.evaluate.explain.ops import FloatOp, float_ops, weighted_layers
from qutils.evaluate.explain.profile import Profile, named, profile
from qutils.evaluate.explain.roofline import Roofline, measure
from qutils.evaluate.explain.samples import batch_for, repeated, same_network, shapes_of

BATCHED = 8
_REPEATS = 50
_ROUNDS = 30  # of a variant, whose batch may be eight times as large


@dataclass(frozen=True)
class Variant:
    """The file run otherwise, timed in turns with the file as asked for."""

    name: str
    milliseconds: float  # a sample
    ratio: bench.Ratio  # to the file as asked for, of the time a sample takes
    iqr_ms: float = 0.0  # of a sample


@dataclass(frozen=True)
class Explanation:
    """What was measured of one file; ``floats`` is the float file's, if one was given."""

    path: Path
    latency: bench.Latency  # of a whole run, without the profiler
    profile: Profile
    roofline: Roofline
    float_ops: tuple[FloatOp, ...]
    offers: tuple[Offer, ...]
    variants: tuple[Variant, ...]
    quantized: bool
    load: Load
    overflowing: tuple[str, ...] = ()  # layers whose weights can leave 16 bits without VNNI
    floats: Profile | None = None
    ratio: bench.Ratio | None = None  # latency of the file over that of the float file

    @property
    def ceiling_ms(self) -> float:
        """The operators' times at the ceiling, added up: estimated."""
        return sum(self.roofline.ceiling_ms(one) for one in self.profile.executed)


def explain(
    path: str | Path,
    float_path: str | Path | None = None,
    *,
    batch: Arrays | int | None = None,
    sizes: Sequence[int] | None = None,
    threads: int = 1,
    runs: int = 30,
) -> Explanation:
    """Measure what an ONNX file's time is spent on, in ONNX Runtime on this CPU.

    Args:
        float_path: the float file to compare with, in turns, in the same run.
        batch: an array, arrays by name for several inputs, or the size of a batch of normal
            values; what the file fixes, or 1, if None.
        sizes: the axes after the batch, where the file leaves them open; those of the float file
            unless given.

    Raises:
        DataError: a file is missing, truncated or corrupt.
        UnsupportedError: the runtime cannot load or run it.
        InvalidInputError: runs below 5, a batch that the model does not take, open axes other than
            the batch, several inputs or integers without a batch, or a float file that holds
            quantizers.
    """
    if runs < 5:
        raise InvalidInputError(f"need runs >= 5 to take a median of, not {runs}")
    options = RuntimeOptions(threads)
    for each in (path, float_path or path):
        if Path(each).suffix != ".onnx":
            raise InvalidInputError(f"{each} is no .onnx file: what runs there is ONNX Runtime")
    runtime = OnnxRuntime.load(path, threads)
    before = None if float_path is None else OnnxRuntime.load(float_path, threads)
    array = batch_for(runtime, before, batch, sizes)
    _try(runtime, array)
    model = named(Path(path))
    quantized = bool(integer_operators(model))
    cores = [share_of_core()]  # beside everything that is timed
    measured = profile(model, array, options, runs=runs)
    cores.append(share_of_core())
    floats, ratio = None, None
    if before is not None:
        floats, ratio = _beside(before, runtime, array, options, runs)
    latency = bench.latency(runtime, array, repeats=_REPEATS)
    cores.append(share_of_core())
    variants = _variants(runtime, array)
    cores.append(share_of_core())
    roofline = measure(options)
    cores.append(share_of_core())
    return Explanation(
        path=Path(path),
        latency=latency,
        load=load_of(tuple(cores), latency),
        overflowing=tuple(overflowing(weighted_layers(model))),
        profile=measured,
        roofline=roofline,
        float_ops=float_ops(model, measured),
        offers=offers(),
        variants=variants,
        quantized=quantized,
        floats=floats,
        ratio=ratio,
    )


def _try(runtime: OnnxRuntime, batch: Arrays) -> None:
    """Some files load and cannot run: per-axis activations, shapes that do not fit."""
    try:
        runtime.run(batch)
    except QutilsError as error:
        if error.__cause__ is None:
            raise
        raise UnsupportedError(
            f"ONNX Runtime loads {runtime.path} and cannot run a batch of "
            f"{shapes_of(batch)}: {_first_line(error.__cause__)}"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("Status Message: ")[2] or str(error)


def _beside(
    before: OnnxRuntime,
    runtime: OnnxRuntime,
    batch: Arrays,
    options: RuntimeOptions,
    runs: int,
) -> tuple[Profile, bench.Ratio]:
    if not same_network(before, runtime):
        takes, here = (
            ", ".join(f"{name} {list(axes)}" for name, axes in one.inputs.items())
            for one in (before, runtime)
        )
        raise InvalidInputError(
            f"{before.path} takes {takes} and {runtime.path} {here}: give the float file of the "
            "same network"
        )
    _try(before, batch)
    model = named(before.path)
    if integer_operators(model):
        raise InvalidInputError(
            f"{before.path} holds quantizers: give the float file, as exported before quantization"
        )
    compared = bench.compare({"float": before, "file": runtime}, batch, repeats=_REPEATS)
    return profile(model, batch, options, runs=runs), compared.ratios["file"]


def _variants(runtime: OnnxRuntime, batch: Arrays) -> tuple[Variant, ...]:
    """A larger batch, more threads, inexact kernels: whatever can be tried here, measured."""
    variants: dict[str, tuple[OnnxRuntime, Arrays]] = {}
    cores, times = core_count(), BATCHED // samples_of(batch)
    if times > 1 and (larger := repeated(runtime, batch, times)) is not None:
        variants[f"batch {samples_of(larger)}"] = (runtime, larger)
    if cores > runtime.threads:
        more = OnnxRuntime.load(runtime.path, cores)
        variants[f"threads {cores}"] = (more, batch)
    if saturates():
        inexact = OnnxRuntime.load(runtime.path, runtime.threads, exact=False)
        variants["exact=False"] = (inexact, batch)
    return tuple(_timed(runtime, batch, variants))


def _timed(
    runtime: OnnxRuntime,
    batch: Arrays,
    variants: Mapping[str, tuple[OnnxRuntime, Arrays]],
) -> list[Variant]:
    """Each variant and the file as asked for, in turns."""
    found = []
    for name, (other, array) in variants.items():
        times = in_turns(
            {"here": partial(runtime.run, batch), "there": partial(other.run, array)},
            repeats=_ROUNDS,
            warm=1,
        )
        here, there = times["here"] / samples_of(batch), times["there"] / samples_of(array)
        q25, median, q75 = np.percentile(there, [25, 50, 75])
        ratio = paired_ratio(there, here)
        found.append(Variant(name, float(median), ratio, float(q75 - q25)))
    return found
