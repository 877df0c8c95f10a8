"""Targets: the integer kernels of a runtime, as data that placement follows; TARGETS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from typing import Literal

from qutils.discovery import Discovered
from qutils.errors import UnsupportedError, unknown_name
from qutils.graph.ops import OPS, Role
from qutils.graph.pair_sums import PairSums
from qutils.numerics.schemes import Recipe


@dataclass(frozen=True)
class Target:
    """The integer kernels of one runtime.

    ``operators`` are ATen names; their records (``graph.ops``) say how each is quantized:

    - ``weighted`` operators take int8 weights and a ``bias``: int32 of scale ``input * weight``, or
      float, added to the scaled accumulator. ``products`` multiply two activations.
    - ``quantized`` operators get an output scale of their own; ``pass_through`` operators keep
      their input's scale; a ``fused`` activation right after an operator is computed by its kernel.

    ``float_output``: operators that return float where the network ends, or where only float
    operators read the result. ``float_endings``: the network may end in one of these; it turns
    logits into probabilities and stays float. ``symmetric_activations``: the kernels accept zero
    points in the middle of the integers. ``only_symmetric``: they accept nothing else, that is int8
    activations, -128..127 around 0. ``takes_in_sums``: the kernel fuses the following ``add``, so
    that nothing is quantized between the two. ``takes_in_silu``: it fuses ``x sigmoid(x)`` of its
    result likewise. ``follows_moves``: the runtime infers that pass-through operators keep their
    input's scale; for other runtimes, a Q/DQ pair is inserted after each of them.
    ``fixed_ranges``: ranges of results that do not depend on calibration. ``pair_sums`` says where
    the kernels saturate.
    """

    name: str
    operators: tuple[str, ...]
    weight_bits: tuple[int, ...] = (8,)
    activation_bits: tuple[int, ...] = (8,)
    quantize_output: bool = False
    float_output: tuple[str, ...] = ()
    float_endings: tuple[str, ...] = ()
    symmetric_activations: bool = True
    takes_in_sums: tuple[str, ...] = ()
    takes_in_silu: tuple[str, ...] = ()
    follows_moves: bool = False
    fixed_ranges: dict[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    only_symmetric: bool = False
    bias: Literal["int32", "float"] = "int32"
    pair_sums: PairSums = field(default_factory=PairSums)

    @cached_property
    def weighted(self) -> tuple[str, ...]:
        """Layers with weights."""
        return self._of("weighted")

    @cached_property
    def products(self) -> tuple[str, ...]:
        """Products of two activations."""
        return self._of("product")

    @cached_property
    def quantized(self) -> tuple[str, ...]:
        """Operators whose result gets a scale of its own."""
        return self._of("requantized")

    @cached_property
    def pass_through(self) -> tuple[str, ...]:
        """Operators that keep their input's scale."""
        return self._of("pass_through")

    @cached_property
    def fused(self) -> tuple[str, ...]:
        """Activations that the kernel before them computes."""
        return tuple(op for op in self.operators if OPS[op].is_fused)

    def _of(self, role: Role) -> tuple[str, ...]:
        return tuple(op for op in self.operators if OPS[op].role == role)

    def adapt(self, recipe: Recipe) -> Recipe:
        """The recipe in the target's integers.

        Where the kernels take activations in one form only, sign and symmetry are the target's;
        bits and observers stay the recipe's.

        >>> target("tensorrt").adapt(Recipe()).activations.qmin
        -128
        """
        if not self.only_symmetric:
            return recipe
        activations, boundary = (
            replace(scheme, signed=True, symmetric=True, full_range=True)
            for scheme in (recipe.activations, recipe.boundary)
        )
        return replace(recipe, activations=activations, boundary=boundary)

    def require_kernels(self, recipe: Recipe) -> None:
        """Raise UnsupportedError if no kernel of the target computes in these integers."""
        recipe = self.adapt(recipe)
        problems = []
        for role, bits, allowed in (
            ("weights", recipe.weights.bits, self.weight_bits),
            ("activations", recipe.activations.bits, self.activation_bits),
            ("boundary", recipe.boundary.bits, self.activation_bits),
        ):
            if bits not in allowed:
                problems.append(f"{bits}-bit {role}")
        if recipe.weights.granularity == "per_group":
            problems.append("per_group weights")
        if not recipe.weights.symmetric:
            problems.append("affine weights")
        if not self.symmetric_activations:
            for role, scheme in (
                ("activations", recipe.activations),
                ("boundary", recipe.boundary),
            ):
                if scheme.symmetric:
                    problems.append(f"symmetric {role}")
        if recipe.boundary.signed != recipe.activations.signed:
            problems.append("signed beside unsigned activations")
        if problems:
            raise UnsupportedError(
                f"{self.name} has no integer kernel for {' and '.join(problems)}: this setting can "
                "be simulated, not exported. Export 8-bit symmetric per_channel or per_tensor "
                f"weights{'' if self.symmetric_activations else ' and affine activations'}."
            )


#: The target of every backend by name; placement follows them, the command line lists them. They
#: live above, in the folders of ``qutils.backends``, and are looked up there when first asked for.
TARGETS: Mapping[str, Target] = Discovered("qutils.backends", "BACKEND", attrgetter("target"))


def target(name: str) -> Target:
    """A registered target by name.

    Raises:
        InvalidInputError: unknown; the closest name is suggested.

    >>> target("onnxruntime").weight_bits
    (7, 8)
    """
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS)
    return TARGETS[name]


def settled(recipe: Recipe, target_name: str) -> Recipe:
    """Return the recipe with ``saturation_safe`` decided: ``"auto"`` follows the target.

    >>> settled(Recipe(), "openvino").saturation_safe, settled(Recipe(), "litert").saturation_safe
    (True, False)
    """
    if recipe.saturation_safe != "auto":
        return recipe
    return replace(recipe, saturation_safe=target(target_name).pair_sums.needs_safe_weights)
