"""Targets: which integer kernels a runtime has, as data that placement follows; TARGETS."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.schemes import Recipe


@dataclass(frozen=True)
class Target:
    """The integer kernels of one runtime, by ATen name.

    ``weighted`` ops take int8 weights and an int32 bias of scale ``input * weight``; ``quantized``
    ops get an output scale of their own; ``pass_through`` ops keep their input's scale; a
    ``fused`` activation directly behind an op is absorbed into that op's output range. The network
    may end in an op of ``float_output`` without quantizing its result. Zero points of
    ``symmetric_activations`` lie in the middle of the integers, which not every kernel takes.
    """

    name: str
    weighted: tuple[str, ...]
    quantized: tuple[str, ...]
    pass_through: tuple[str, ...]
    fused: tuple[str, ...]
    weight_bits: tuple[int, ...] = (8,)
    activation_bits: tuple[int, ...] = (8,)
    quantize_output: bool = False
    float_output: tuple[str, ...] = ()
    symmetric_activations: bool = True

    def require_kernels(self, recipe: Recipe) -> None:
        """Raise UnsupportedError if no kernel of the target computes in these integers."""
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


_FUSED = ("relu", "relu6", "hardtanh", "clamp")
_SHAPES = (
    "flatten",
    "view",
    "reshape",
    "_unsafe_view",
    "squeeze",
    "unsqueeze",
    "permute",
    "transpose",
    "slice",
    "max_pool2d",
    "relu",
    "constant_pad_nd",
    "pad",
)

TARGETS: dict[str, Target] = {
    "onnxruntime": Target(
        name="onnxruntime",
        weighted=("conv1d", "conv2d", "linear"),
        quantized=(
            "add",
            "mul",
            "cat",
            "adaptive_avg_pool2d",
            "avg_pool2d",
            "sigmoid",
            "leaky_relu",
        ),
        pass_through=_SHAPES,
        fused=_FUSED,
        float_output=("linear",),
        symmetric_activations=False,  # a zero point above qmin keeps conv + relu in float
    ),
}


def target(name: str) -> Target:
    """A registered target by name.

    Raises:
        InvalidInputError: unknown; the closest name is suggested.

    >>> target("onnxruntime").weight_bits
    (8,)
    """
    if name not in TARGETS:
        close = get_close_matches(name, TARGETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InvalidInputError(f"unknown target {name!r}: choose from {', '.join(TARGETS)}{hint}")
    return TARGETS[name]
