"""What a quantizer is: bits, sign, symmetry, granularity, observer. Frozen values, no tensors."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from qutils.discovery import DiscoveredNames
from qutils.errors import InvalidInputError, unknown_name

Granularity = Literal["per_tensor", "per_channel", "per_group"]
GRANULARITIES: tuple[str, ...] = get_args(Granularity)
MIN_BITS, MAX_BITS = 2, 8
#: The names of the observers, which live above: a scheme is made without importing them, or torch.
OBSERVER_NAMES: Collection[str] = DiscoveredNames("qutils.numerics.observers", "OBSERVER")


@dataclass(frozen=True)
class Scheme:
    """How one tensor becomes integers.

    ``signed`` and ``symmetric`` left at None mean "as the role asks": a ``Recipe`` makes weights
    signed and symmetric, activations unsigned and affine.

    ``per_group`` cuts the weights ``[C, ...]`` of each output channel into runs of ``group_size``
    values. In a layer whose filters it does not divide, calibration takes the largest smaller size
    that does, 3 instead of 4 for filters of 9 values; ``print(sim)`` shows the size of each layer.

    A symmetric scheme gives up the lowest integer, so that ``-x`` is representable whenever ``x``
    is: 8 bits signed are -127..127, 2 bits -1..1. With ``full_range`` it keeps it, as kernels do
    that saturate at -128; scale and zero point are the same.

    >>> Scheme(bits=8, signed=True, symmetric=True).qmin
    -127
    >>> Scheme(bits=4, signed=False, symmetric=False).qmax
    15

    Raises:
        InvalidInputError: bits outside 2..8, unknown granularity or observer, group size amiss.
    Source: Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 2.
    """

    bits: int = 8
    signed: bool | None = None
    symmetric: bool | None = None
    granularity: Granularity = "per_tensor"
    group_size: int | None = None
    observer: str = "minmax"
    full_range: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int) or not MIN_BITS <= self.bits <= MAX_BITS:
            raise InvalidInputError(
                f"bits must be an integer in {MIN_BITS}..{MAX_BITS}, got {self.bits!r}"
            )
        if self.granularity not in GRANULARITIES:
            raise unknown_name("granularity", self.granularity, GRANULARITIES)
        if self.observer not in OBSERVER_NAMES:
            raise unknown_name("observer", self.observer, OBSERVER_NAMES)
        if (self.granularity == "per_group") != (self.group_size is not None):
            raise InvalidInputError(
                "group_size goes with granularity='per_group', and only with it"
            )
        size = self.group_size
        if size is not None and (type(size) is not int or size < 1):
            raise InvalidInputError(f"group_size must be an integer of at least 1, got {size!r}")

    @property
    def qmin(self) -> int:
        """Smallest integer: ``-2^(b-1)`` signed, ``0`` unsigned; symmetric, one more.

        ``full_range`` keeps the lowest integer of a symmetric scheme.
        """
        lowest = -(1 << (self.bits - 1)) if self.signed else 0
        return lowest + 1 if self.symmetric and not self.full_range else lowest

    @property
    def qmax(self) -> int:
        """Largest integer: ``2^(b-1) - 1`` signed, ``2^b - 1`` unsigned."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def resolved(self, *, signed: bool, symmetric: bool) -> Scheme:
        """This scheme with unset ``signed`` and ``symmetric`` filled in."""
        return replace(
            self,
            signed=signed if self.signed is None else self.signed,
            symmetric=symmetric if self.symmetric is None else self.symmetric,
        )


@dataclass(frozen=True)
class Recipe:
    """The schemes of a whole model.

    ``boundary`` is the network's input (pixels are 8-bit data) and, where the target quantizes it,
    its output; every layer between, first and last included, follows ``weights`` and
    ``activations``.

    ``saturation_safe`` limits 8-bit weights so that the file computes the same on every CPU: x86
    kernels without VNNI add two products in 16 bits, which large neighbouring weights exceed. Each
    filter's scale grows just enough that none of its pairs can (``graph.pair_sums``). ``"auto"``
    does so for targets whose kernels nothing else makes exact (OpenVINO, Inductor). It costs less
    than 7-bit weights; the README has figures.

    >>> Recipe(weights=Scheme(bits=4)).label
    'W4A8'
    """

    weights: Scheme = field(default_factory=lambda: Scheme(granularity="per_channel"))
    activations: Scheme = field(default_factory=Scheme)
    boundary: Scheme = field(default_factory=Scheme)
    saturation_safe: bool | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if not (isinstance(self.saturation_safe, bool) or self.saturation_safe == "auto"):
            raise InvalidInputError(
                f"saturation_safe must be True, False or 'auto', got {self.saturation_safe!r}. "
                "'auto' follows the target."
            )
        for name in ("weights", "activations", "boundary"):
            if not isinstance(getattr(self, name), Scheme):
                raise InvalidInputError(
                    f"{name} are a {type(getattr(self, name)).__name__}: give a Scheme(bits=...)"
                )
        object.__setattr__(self, "weights", self.weights.resolved(signed=True, symmetric=True))
        for name in ("activations", "boundary"):
            scheme: Scheme = getattr(self, name).resolved(signed=False, symmetric=False)
            if scheme.granularity != "per_tensor":
                raise InvalidInputError(
                    f"{name} are quantized per_tensor (integer kernels sum over channels), "
                    f"got {scheme.granularity}"
                )
            object.__setattr__(self, name, scheme)

    @classmethod
    def w8a8(cls, observer: str = "minmax") -> Recipe:
        """What integer kernels run: 8 bits everywhere, weights per channel, ranges by one observer.

        >>> Recipe.w8a8("mse").weights.observer
        'mse'
        """
        scheme = Scheme(8, observer=observer)
        return cls(replace(scheme, granularity="per_channel"), scheme)

    @property
    def label(self) -> str:
        """Bits of weights and activations, as in the literature: ``W8A8``."""
        return f"W{self.weights.bits}A{self.activations.bits}"
