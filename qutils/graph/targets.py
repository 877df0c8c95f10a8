"""Targets: which integer kernels a runtime has, as data that placement follows; TARGETS."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from qutils.errors import UnsupportedError, unknown_name
from qutils.graph.nodes import PRODUCTS
from qutils.schemes import Recipe


@dataclass(frozen=True)
class Target:
    """The integer kernels of one runtime, by ATen name.

    ``weighted`` ops take int8 weights and a ``bias``: int32 of scale ``input * weight``, or
    float, added once the accumulator is scaled. ``products`` multiply two activations.
    ``quantized`` ops get an output scale of their own; ``pass_through`` ops keep their input's
    scale; a ``fused`` activation directly behind an op is absorbed into that op's output range.
    An op of ``float_output`` hands its result out in float where the network ends or float
    operators alone read it. The network may end in one of ``float_endings``, which turn logits
    into probabilities and stay in float. Zero points of ``symmetric_activations`` lie in the
    middle of the integers, which not every kernel takes; ``only_symmetric`` kernels take
    nothing else: int8 activations, -128..127 around 0. The kernel of an op of ``takes_in_sums``
    adds another tensor before it rounds: between the op and an ``add`` of its own nothing is
    quantized; that of an op of ``takes_in_silu`` computes ``x sigmoid(x)`` of its result
    likewise. A runtime that ``follows_moves`` knows that what passes values on keeps their
    scale; others are told by a pair behind each such op. The results of ops of ``fixed_ranges``
    have that range whatever calibration sees.
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
    float_endings: tuple[str, ...] = ()
    symmetric_activations: bool = True
    products: tuple[str, ...] = ()
    takes_in_sums: tuple[str, ...] = ()
    takes_in_silu: tuple[str, ...] = ()
    follows_moves: bool = False
    fixed_ranges: dict[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    only_symmetric: bool = False
    bias: Literal["int32", "float"] = "int32"

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
    "expand",
    "slice",
    "index_select",
    "pixel_shuffle",
    "upsample_nearest2d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "relu",
    "constant_pad_nd",
    "pad",
)

_ONNXRUNTIME = Target(
    name="onnxruntime",
    weighted=("conv1d", "conv2d", "conv3d", "linear"),
    quantized=(
        "add",
        "mul",
        "cat",
        "adaptive_avg_pool2d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "sigmoid",
        "leaky_relu",
    ),
    pass_through=_SHAPES,
    fused=_FUSED,
    float_output=("linear", *PRODUCTS),
    float_endings=("log_softmax", "softmax"),
    products=PRODUCTS,
    symmetric_activations=False,  # a zero point above qmin keeps conv + relu in float
)

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")

#: Without pooling of three axes.
_FLAT = tuple(op for op in _ONNXRUNTIME.quantized if op != "avg_pool3d")

TARGETS: dict[str, Target] = {
    # 7 bits leave the eighth of an int8 unused: two products then fit into 16 bits (``saturating``)
    "onnxruntime": replace(_ONNXRUNTIME, weight_bits=(7, 8)),
    "openvino": replace(
        _ONNXRUNTIME,
        name="openvino",
        float_output=(*_CONVOLUTIONS, "linear"),
        products=(),  # its int8 kernel takes operands around zero only
        takes_in_sums=_CONVOLUTIONS,
        takes_in_silu=_CONVOLUTIONS,
        follows_moves=True,
    ),
    "litert": replace(
        _ONNXRUNTIME,
        name="litert",
        weighted=("conv1d", "conv2d", "linear"),
        quantized=(*_FLAT, "softmax", "log_softmax"),
        pass_through=tuple(op for op in _SHAPES if op != "max_pool3d"),
        quantize_output=True,
        float_output=(),
        float_endings=(),
        fixed_ranges={  # scale 1/256, and 16/256, say the kernels
            "sigmoid": (0, 255 / 256),
            "softmax": (0, 255 / 256),
            "log_softmax": (-255 / 16, 0),
        },
    ),
    "tensorrt": replace(
        _ONNXRUNTIME,
        name="tensorrt",
        quantized=_FLAT,
        float_output=(*_CONVOLUTIONS, "linear"),
        products=(),
        takes_in_sums=_CONVOLUTIONS,
        symmetric_activations=True,
        only_symmetric=True,
        bias="float",
    ),
    "executorch": replace(  # XNNPACK's int8 kernels; the rest it computes in float
        _ONNXRUNTIME,
        name="executorch",
        weighted=("conv1d", "conv2d", "linear"),
        quantized=("add", "mul", "cat", "adaptive_avg_pool2d"),
        pass_through=tuple(op for op in _SHAPES if op != "max_pool3d"),
        float_output=(),
        products=(),
        symmetric_activations=True,
    ),
    "inductor": replace(_ONNXRUNTIME, name="inductor", float_output=("linear",), products=()),
}


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
