"""What the PTQ-against-QAT study computes: a list of jobs, made from the notebook's parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

from qutils.errors import InvalidInputError, known_names
from qutils.numerics.observers import OBSERVERS
from qutils.numerics.schemes import GRANULARITIES, Granularity, Recipe, Scheme
from qutils.zoo import MODELS, QatCheckpoint

METHODS = ("ptq", "qat")


@dataclass(frozen=True)
class Profile:
    """How much work a profile does; None means all pictures."""

    seeds: tuple[int, ...]
    epochs: float
    calibration_pictures: int
    train_pictures: int | None
    test_pictures: int | None


PROFILES = {
    "smoke": Profile((0,), 1.0, 64, 256, 256),
    "default": Profile((0,), 0.4, 512, None, 4000),
    "full": Profile((0, 1, 2), 0.75, 512, None, None),
}


@dataclass(frozen=True)
class Job:
    """One model, made by one method under one setting and seed, and scored."""

    model: str
    method: str  # fp32, ptq, qat
    weight_bits: int
    activation_bits: int
    observer: str
    granularity: Granularity
    seed: int
    epochs: float
    calibration_pictures: int
    train_pictures: int | None
    test_pictures: int | None

    @property
    def exportable(self) -> bool:
        """Whether ONNX Runtime has integer kernels for it."""
        return self.method != "fp32" and self.weight_bits == self.activation_bits == 8

    @property
    def recipe(self) -> Recipe:
        """The quantization recipe of the setting."""
        weights = Scheme(self.weight_bits, granularity=self.granularity, observer=self.observer)
        return Recipe(weights, Scheme(self.activation_bits, observer=self.observer))

    def key(self) -> dict[str, object]:
        """The job as JSON, for the cache."""
        return asdict(self)


def bit_pairs(weight_bits: Iterable[int], activation_bits: Iterable[int]) -> list[tuple[int, int]]:
    """Every weight width beside the widest activations, and the pairs of equal widths.

    >>> bit_pairs([2, 4, 8], [4, 8])
    [(2, 8), (4, 4), (4, 8), (8, 8)]
    """
    weights, activations = sorted(set(weight_bits)), sorted(set(activation_bits))
    if not weights or not activations:
        raise InvalidInputError("weight_bits and activation_bits must name at least one width each")
    pairs = {(w, activations[-1]) for w in weights}
    pairs |= {(b, b) for b in weights if b in activations}
    return sorted(pairs)


def plan_jobs(
    models: Sequence[str],
    methods: Sequence[str],
    weight_bits: Sequence[int],
    activation_bits: Sequence[int],
    observers: Sequence[str],
    granularities: Sequence[str],
    profile: str,
    seeds: Sequence[int] | None = None,
    epochs: float | None = None,
) -> list[Job]:
    """All jobs of a study, in the order in which they are best computed.

    The first observer and the first granularity are the main ones: they make the curves. At the
    bit pairs that compare them (8/8 and 4/4, where asked for), every observer and granularity is
    computed as well, by PTQ with the first seed.

    Raises:
        InvalidInputError: an unknown model, method, observer, granularity or profile (the closest
            name is suggested), bits outside 2..8, an empty list, epochs not above zero.
    """
    known_names("profile", [profile], PROFILES)
    known_names("model", models, MODELS)
    known_names("method", methods, METHODS)
    known_names("observer", observers, OBSERVERS)
    known_names("granularity", granularities, [g for g in GRANULARITIES if g != "per_group"])
    size = PROFILES[profile]
    if epochs is not None and epochs <= 0:
        raise InvalidInputError(f"epochs must be above zero, got {epochs}")
    chosen = size.seeds if seeds is None else tuple(seeds)
    if not chosen:
        raise InvalidInputError("no seeds: name at least one, or none at all for the profile's")
    pairs = bit_pairs(weight_bits, activation_bits)
    for w, a in pairs:
        Recipe(Scheme(w), Scheme(a))  # raises on bits outside 2..8
    first = Job(
        model=models[0],
        method="ptq",
        weight_bits=8,
        activation_bits=8,
        observer=observers[0],
        granularity=cast(Granularity, granularities[0]),
        seed=chosen[0],
        epochs=epochs or size.epochs,
        calibration_pictures=size.calibration_pictures,
        train_pictures=size.train_pictures,
        test_pictures=size.test_pictures,
    )
    jobs: list[Job] = []
    for model in models:
        base = replace(first, model=model)
        jobs.append(replace(base, method="fp32", weight_bits=32, activation_bits=32, epochs=0))
        jobs += _curves(base, methods, pairs, chosen)
        if "ptq" in methods:
            jobs += _comparisons(base, pairs, observers, granularities)
    return sorted(dict.fromkeys(jobs), key=lambda job: job.method != "qat")  # longest first


def checkpoint_job(
    made: QatCheckpoint, *, seed: int | None = None, epochs: float | None = None
) -> Job:
    """The job of the ``full`` profile that trains a shipped network, or a variant of it.

    Raises:
        InvalidInputError: epochs not above zero.
    """
    if epochs is not None and epochs <= 0:
        raise InvalidInputError(f"epochs must be above zero, got {epochs}")
    return Job(
        model=made.model,
        method="qat",
        weight_bits=made.weight_bits,
        activation_bits=made.activation_bits,
        observer=made.observer,
        granularity=made.granularity,
        seed=made.seed if seed is None else seed,
        epochs=made.epochs if epochs is None else epochs,
        calibration_pictures=made.calibration_pictures,
        train_pictures=None,
        test_pictures=None,
    )


def _curves(
    base: Job, methods: Sequence[str], pairs: Iterable[tuple[int, int]], seeds: Iterable[int]
) -> Iterator[Job]:
    for method in methods:
        for w, a in pairs:
            for seed in seeds:
                job = replace(base, method=method, weight_bits=w, activation_bits=a, seed=seed)
                yield job if method == "qat" else replace(job, epochs=0)


def _comparisons(
    base: Job,
    pairs: Iterable[tuple[int, int]],
    observers: Sequence[str],
    granularities: Sequence[str],
) -> Iterator[Job]:
    ptq = replace(base, epochs=0)
    for w, a in pairs:
        if w != a:
            continue
        pair = replace(ptq, weight_bits=w, activation_bits=a)
        yield from (replace(pair, observer=name) for name in observers)
        for granularity in granularities[1:]:
            for name in dict.fromkeys((observers[0], "minmax")):
                yield replace(pair, granularity=cast(Granularity, granularity), observer=name)
