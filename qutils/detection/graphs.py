"""A detector's graph, traced once for all targets that it is quantized for."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from qutils.detection.detector import DECODE, Detector
from qutils.errors import InvalidInputError
from qutils.graph import Captured, capture, place, target
from qutils.numerics.observers.statistic import Statistic
from qutils.quantize.calibration import Observation


def trace_detector(detector: Detector) -> Captured:
    """Trace a detector; ``observe_detector(..., graph=...)`` then need not do it for each target.

    Raises: as ``qutils.observe``.
    """
    return capture(detector, torch.zeros(2, 3, *detector.size))


def decoded_as(detector: Detector, graph: Captured) -> Captured:
    """Return the graph with boxes in the unit of ``detector``: pixels, or shares of the image.

    Raises:
        InvalidInputError: the graph is that of another network, head or size.
    """
    stored, own = graph.module.state_dict(), detector.state_dict()
    last = [name for name in own if name in stored and not name.startswith(DECODE)]
    if graph.input_shape[1:] != detector.size or not all(
        torch.equal(stored[name], own[name]) for name in last if _is_last(name, detector)
    ):
        raise InvalidInputError(
            "expected the graph of this detector, got that of another network, head or size. "
            "Make it with trace_detector(detector)."
        )
    units = {f"{DECODE}.{name}": value for name, value in detector.decode.state_dict().items()}
    if all(torch.equal(stored[name], value) for name, value in units.items() if name in stored):
        return graph
    module = copy.deepcopy(graph.module)
    module.load_state_dict(units, strict=False)
    return replace(graph, module=module)


def _is_last(name: str, detector: Detector) -> bool:
    """Return True for tensors of a branch's last convolution: no BatchNorm is folded into it."""
    branch, _, rest = name.partition(".")
    if branch not in ("box", "cls"):
        return False
    level, layer = rest.split(".")[:2]
    return int(layer) == len(detector.get_submodule(f"{branch}.{level}")) - 1  # type: ignore[arg-type]


def observe_graph(
    graph: Captured,
    batches: Iterable[Tensor],
    target_name: str,
    *,
    keep_float: Collection[str],
    progress: bool,
) -> Observation:
    """Watch a traced detector on calibration images, its decoding in float.

    Raises: as ``qutils.observe``.
    """
    placement = place(graph.module, target(target_name), keep_float=keep_float)
    sites = [site for site in placement.sites.values() if site.role != "weight"]
    statistics = {site.name: Statistic(name=site.name) for site in sites}
    blank = Observation(graph, placement, target(target_name), statistics, pictures=0)
    kept = blank.extended(batches, progress=progress)
    if not kept.pictures:
        raise InvalidInputError("expected calibration images, got none. Give at least one.")
    return kept
