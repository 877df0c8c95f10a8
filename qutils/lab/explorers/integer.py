"""Explorer of integer arithmetic: one small convolution, every integer of it."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from qutils import zoo
from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.by_hand import ConvByHand, Window, conv_by_hand
from qutils.evaluate.analysis.sqnr import sqnr_db
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.material import folded_weights
from qutils.lab.explorers.view import Fact, View
from qutils.lab.figures.explorers.integer import IntegerData, IntegerPlot
from qutils.numerics.schemes import MAX_BITS, MIN_BITS, Scheme

SIZE = 5
#: What of the float output's range the integers are given.
OUTPUTS = {
    "all of it": 1.0,
    "half of it": 0.5,
    "a quarter of it": 0.25,
    "from zero up": 1.0,
}
BITS = tuple(range(MIN_BITS, MAX_BITS + 1))


def default_conv() -> tuple[Tensor, Tensor, float]:
    """The strap of a bag, ``[5, 5]``, and a filter of ResNet-8 that sees its edges, with bias."""
    bag = zoo.dataset("fashion_mnist").calibration.images[1, 0]
    weights = folded_weights("resnet8")
    x = zoo.normalize(bag[4 : 4 + SIZE, 9 : 9 + SIZE])
    return x, weights["stem.0.weight"][0, 0], float(weights["stem.0.bias"][0])


class IntegerExplorer(Explorer):
    """A 5x5 convolution by hand: choose bits, mapping and output range; follow one window."""

    title = "Integer arithmetic"

    def __init__(self, x: Tensor | None = None, w: Tensor | None = None, bias: float = 0.0) -> None:
        """Convolve floats ``x [5, 5]`` with ``w [3, 3]``; by default a real picture and filter.

        Raises:
            InvalidInputError: other shapes, or one given without the other.
        """
        if x is None and w is None:
            x, w, bias = default_conv()
        if x is None or w is None or x.shape != (SIZE, SIZE) or w.shape != (3, 3):
            raise InvalidInputError("give an input [5, 5] and a filter [3, 3], both or neither")
        self.x, self.w, self.bias = x, w, bias
        places = tuple(range(SIZE))
        self.controls = (
            Control("weight_bits", "Bits of weights", BITS, 4, frames=(4, 8)),
            Control("activation_bits", "Bits of activations", BITS, 4, frames=(4, 8)),
            Control("mapping", "Activations", ("affine", "symmetric"), "affine", "menu"),
            Control(
                "output",
                "Output range",
                tuple(OUTPUTS),
                "all of it",
                "menu",
                frames=("all of it", "a quarter of it", "from zero up"),
            ),
            Control("row", "Row", places, 2, frames=(0, 2)),
            Control("column", "Column", places, 2, frames=(1, 2, 3)),
        )
        self.plot = IntegerPlot()
        self._conv = lru_cache(maxsize=256)(self._convolve)

    def compute(self, **setting: Value) -> View:
        """Every integer of a setting, and the ledger of the framed output."""
        conv = self._conv(
            int(setting["weight_bits"]),
            int(setting["activation_bits"]),
            str(setting["mapping"]),
            str(setting["output"]),
        )
        place = (int(setting["row"]), int(setting["column"]))
        window = conv.window(*place)
        real, exact = float(conv.dequantized[place]), float(conv.exact[place])
        saturated = int(conv.saturated.sum())
        facts = (
            Fact("sum", "Sum of products", window.sum),
            Fact("correction", "Zero point correction", window.correction),
            Fact("bias", "Bias", window.bias),
            Fact("acc", "Accumulator", window.acc),
            Fact("y", "Output", window.y),
            Fact("real", "Output stands for", real, digits=3),
            Fact("exact", "Float convolution gives", exact, digits=3),
            Fact("saturated", "Saturated outputs", saturated, f"of {conv.y.numel()}"),
            Fact("sqnr_db", "SQNR of all 25", sqnr_db(conv.exact, conv.dequantized), "dB"),
        )
        alt = (
            f"Matrices of integers: a 5x5 input with padding, a 3x3 filter, the nine products at "
            f"row {place[0]}, column {place[1]}, the accumulators, and the output, where "
            f"accumulator {window.acc} becomes {window.y}"
        )
        return View(facts, _note(conv, place), alt, data=_data(conv, window, place))

    def conv(self, **setting: Value) -> ConvByHand:
        """The integers behind a setting; controls that are not named keep their default."""
        full = self.complete(setting)
        return self._conv(
            int(full["weight_bits"]),
            int(full["activation_bits"]),
            str(full["mapping"]),
            str(full["output"]),
        )

    def _convolve(
        self, weight_bits: int, activation_bits: int, mapping: str, output: str
    ) -> ConvByHand:
        symmetric = mapping == "symmetric"
        activations = Scheme(activation_bits, signed=symmetric, symmetric=symmetric)
        weights = Scheme(weight_bits, signed=True, symmetric=True)
        whole = conv_by_hand(self.x, self.w, self.bias, activations, weights).exact
        share = OUTPUTS[output]
        low = 0.0 if output == "from zero up" else share * min(0.0, float(whole.min()))
        high = share * max(0.0, float(whole.max()))
        return conv_by_hand(self.x, self.w, self.bias, activations, weights, (low, high))


def _note(conv: ConvByHand, place: tuple[int, int]) -> str:
    """What is worth seeing at this place."""
    if bool(conv.saturated[place]):
        return "This output saturates: what it should be lies beyond the last integer."
    if int(conv.qx.zero_point) == 0:
        whose = (
            "Symmetric activations have" if conv.qx.qmin < 0 else "An input without negatives has"
        )
        return f"{whose} zero point 0: there is nothing to correct."
    return (
        "The correction does not depend on the picture: a kernel computes it once, and adds it to "
        "the bias."
    )


def _data(conv: ConvByHand, window: Window, place: tuple[int, int]) -> IntegerData:
    return IntegerData(
        padded=conv.padded.numpy(),
        zero_point=int(conv.qx.zero_point),
        w=conv.w.numpy(),
        products=window.products.numpy(),
        acc=conv.acc.numpy(),
        y=conv.y.numpy(),
        y_zero_point=int(conv.qy.zero_point),
        saturated=conv.saturated.numpy(),
        place=place,
        steps=_steps(conv, window),
    )


def _steps(conv: ConvByHand, window: Window) -> tuple[tuple[str, str], ...]:
    """The ledger of one output: what is done, what comes out."""
    zero_point, total = int(conv.qx.zero_point), int(conv.w.sum())
    rounded = int(torch.round(torch.tensor(window.scaled)))
    y_zero_point, ends = int(conv.qy.zero_point), f"{conv.qy.qmin}..{conv.qy.qmax}"
    return (
        ("sum of the nine products", _signed(window.sum)),
        (f"− zero point of x, {zero_point}, times the sum of w, {_signed(total)}",
         _signed(window.correction)),
        ("+ bias, in steps of scale x times scale w", _signed(window.bias)),
        ("= accumulator", _signed(window.acc)),
        (f"× M = scale x · scale w / scale y = {float(conv.multiplier):.6f}",
         _signed(f"{window.scaled:.3f}")),
        ("rounded to the nearest, halves to the even", _signed(rounded)),
        (f"+ zero point of y, {y_zero_point}, clamped to {_signed(ends)}", _signed(window.y)),
    )  # fmt: skip


def _signed(value: int | str) -> str:
    """With the minus sign of print."""
    return str(value).replace("-", "−")
