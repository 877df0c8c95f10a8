"""Explorer of granularity: one scale for a layer, for each channel, or for each group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.channels import (
    Channels,
    channel_ranges,
    channels_of,
    range_spread,
    weight_qparams,
)
from qutils.evaluate.analysis.sqnr import sqnr_db
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.material import folded_weights
from qutils.lab.explorers.view import Fact, View
from qutils.lab.figures.explorers.granularity import GranularityData, GranularityPlot
from qutils.numerics import affine
from qutils.numerics.affine import QParams
from qutils.numerics.observers import OBSERVERS
from qutils.numerics.schemes import GRANULARITIES, MAX_BITS, MIN_BITS, Granularity, Scheme

#: Weights that share a scale, per group.
GROUP_SIZES = (4, 8, 16, 32, 64)
SCALE_BYTES = 4  # float32; symmetric weights keep no zero point


@dataclass(frozen=True)
class _Quantized:
    """One weight under one scheme."""

    q: QParams
    channels: Channels
    sqnr_db: float

    @property
    def scales(self) -> int:
        return self.q.scale.numel()


def default_weights() -> dict[str, Tensor]:
    """One layer of each kind, BatchNorm folded: depthwise, pointwise, plain."""
    mobile, plain = folded_weights("mobilenetv2"), folded_weights("resnet8")
    return {
        "depthwise 3x3: MobileNetV2 blocks.0": mobile["blocks.0.depthwise.0.weight"],
        "pointwise 1x1: MobileNetV2 blocks.1": mobile["blocks.1.project.0.weight"],
        "plain 3x3: ResNet-8 stage1.conv2": plain["stage1.conv2.weight"],
    }


class GranularityExplorer(Explorer):
    """The channels of one layer: choose who shares a scale; see what is left to each."""

    title = "Who shares a scale"

    def __init__(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Explore float weights ``[C, ...]`` by name; by default one layer of each kind."""
        self.weights = dict(weights) if weights is not None else default_weights()
        if not self.weights or any(w.ndim < 2 for w in self.weights.values()):
            raise InvalidInputError("give at least one weight of two axes or more, [C, ...]")
        names = tuple(self.weights)
        self.controls = (
            Control("layer", "Layer", names, names[0], "menu", texts=names),
            Control("granularity", "Granularity", GRANULARITIES, GRANULARITIES[0], "menu"),
            Control("group_size", "Group size", GROUP_SIZES, 4, frames=(4, 16)),
            Control(
                "bits", "Bits", tuple(range(MIN_BITS, MAX_BITS + 1)), 4, frames=(2, 3, 4, 6, 8)
            ),
            Control("observer", "Observer", tuple(OBSERVERS), "minmax", "menu",
                    frames=("minmax", "mse")),
        )  # fmt: skip
        self.plot = GranularityPlot()
        self._quantized = lru_cache(maxsize=512)(self._quantize)

    def compute(self, **setting: Value) -> View:
        """SQNR, effective bits and scales of a setting; a table of all granularities beside it."""
        layer, bits = str(setting["layer"]), int(setting["bits"])
        schemes = _schemes(bits, str(setting["observer"]), int(setting["group_size"]))
        chosen = str(setting["granularity"])
        found = {name: self._quantized(layer, scheme) for name, scheme in schemes.items()}
        weight, here = self.weights[layer], found[chosen]
        effective = here.channels.effective_bits
        scale_bytes = SCALE_BYTES * here.scales
        facts = (
            Fact("sqnr_db", "SQNR of the layer", here.sqnr_db, "dB"),
            Fact("worst_db", "SQNR of the worst channel", float(here.channels.sqnr_db.min()), "dB"),
            Fact("effective_bits", "Effective bits, middle channel",
                 float(effective.quantile(0.5)), "bits", 1),
            Fact("vanished", "Channels that become all zero", int((effective == 0).sum()),
                 f"of {len(effective)}"),
            Fact("spread", "Widest range over the middle one", range_spread(weight), "times", 1),
            Fact("scales", "Scales", here.scales),
            Fact("scale_bytes", "Bytes of scales, estimated", scale_bytes, "B"),
            Fact("scale_share", "of the weights' bytes, estimated",
                 100 * 8 * scale_bytes / (bits * weight.numel()), "%", 1),
        )  # fmt: skip
        alt = (
            f"{layer}: a number line for each of {len(weight)} channels, widest on top, with the "
            f"levels of a {bits}-bit grid {chosen.replace('_', ' ')}; right, SQNR and effective "
            f"bits of each channel"
        )
        note = _note(chosen, here, int(setting["group_size"]), weight)
        table = _table(found, weight.numel() * bits)
        data = _data(layer, chosen, bits, weight, here)
        return View(facts, note, alt, table=table, data=data)

    def _quantize(self, layer: str, scheme: Scheme) -> _Quantized:
        weight = self.weights[layer]
        q = weight_qparams(weight, scheme)
        return _Quantized(
            q, channels_of(weight, q), sqnr_db(weight, affine.fake_quantize(weight, q))
        )


def _schemes(bits: int, observer: str, group_size: int) -> dict[str, Scheme]:
    """The scheme of each granularity, in the order of the registry."""
    found: dict[str, Scheme] = {}
    for name in GRANULARITIES:
        granularity: Granularity = name  # type: ignore[assignment]
        size = group_size if name == "per_group" else None
        found[name] = Scheme(bits, True, True, granularity, size, observer)
    return found


def _note(chosen: str, here: _Quantized, asked: int, weight: Tensor) -> str:
    if chosen == "per_tensor":
        lost = float(torch.tensor(range_spread(weight)).log2())
        return (
            f"One step for all channels, as wide as the widest needs: the channel in the middle "
            f"loses about {lost:.1f} bits by it."
        )
    if chosen == "per_channel":
        return "Each channel has a step of its own, as wide as its range: none pays for another."
    size = here.q.group_size
    each = "Each group has a step of its own"
    if size == asked:
        return f"{each}: {size} neighbouring weights of a filter share it."
    return (
        f"{each}. {asked} does not divide the {weight[0].numel()} weights of a filter: groups of "
        f"{size}, the largest size that does."
    )


def _table(found: Mapping[str, _Quantized], weight_bits: int) -> tuple[tuple[str, ...], ...]:
    """All granularities at these bits and this observer."""
    head = ("granularity", "SQNR [dB]", "worst channel [dB]", "scales",
            "bytes of scales, estimated", "of the weights' bytes, estimated")  # fmt: skip
    rows = [
        (
            name.replace("_", " ") + (f" of {one.q.group_size}" if one.q.group_size else ""),
            Fact("", "", one.sqnr_db, "").text,
            Fact("", "", float(one.channels.sqnr_db.min()), "").text,
            str(one.scales),
            f"{SCALE_BYTES * one.scales:,} B",
            f"{100 * 8 * SCALE_BYTES * one.scales / weight_bits:.1f} %",
        )
        for name, one in found.items()
    ]
    return head, *rows


def _data(
    layer: str, granularity: str, bits: int, weight: Tensor, here: _Quantized
) -> GranularityData:
    q = here.q
    order = channel_ranges(weight).argsort(descending=True)  # [C]
    flat = weight.detach().flatten(1)
    pieces = flat.reshape(len(flat), -1, q.group_size or flat.shape[1])[order]  # [C, G, n]
    shape = pieces.shape[:2]
    scales, zero_points = (
        (x.reshape(-1, 1) if x.ndim < 2 else x).expand(shape[0], -1)
        for x in (q.scale, q.zero_point)
    )
    if q.axis is not None:
        scales, zero_points = scales[order], zero_points[order]
    return GranularityData(
        layer=layer,
        granularity=granularity,
        bits=bits,
        channels=tuple(order.tolist()),
        weights=pieces.double().numpy(),
        scales=scales.double().numpy(),
        zero_points=zero_points.double().numpy(),
        qmin=q.qmin,
        qmax=q.qmax,
        sqnr_db=here.channels.sqnr_db[order].numpy(),
        effective_bits=here.channels.effective_bits[order].numpy(),
    )
