"""Calibration: watch the float model once, then derive any recipe's ranges from what was kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Interpreter, Node
from tqdm.auto import tqdm

from qutils import observers
from qutils.errors import InvalidInputError
from qutils.graph import Captured, Placement, Site, Target, capture, place, target
from qutils.graph.capture import parameters_of
from qutils.observers.rows import Rows
from qutils.observers.statistic import Statistic
from qutils.schemes import Recipe, Scheme
from qutils.simulate import FakeQuantize, SimulatedModel

#: A tensor of all calibration pictures is served in batches of this size: memory stays bounded.
CHUNK = 64


@dataclass(frozen=True)
class Observation:
    """What calibration keeps: the graph, the plan, one bounded statistic per activation.

    ``simulate(recipe)`` derives ranges for any bits and observer without another pass.
    """

    captured: Captured
    placement: Placement
    target: Target
    statistics: dict[str, Statistic]  # by site name
    pictures: int

    def rows(self, site: Site, scheme: Scheme) -> Rows:
        """The values of a site: its kept statistic, or the weight itself."""
        if site.role != "weight":
            return self.statistics[site.name].rows()
        axis = None if scheme.granularity == "per_tensor" else 0
        return observers.rows_of(self.weight(site), axis, scheme.group_size)

    def weight(self, site: Site) -> Tensor:
        """The float weight ``[C, ...]`` of a weight site."""
        node = next(n for n in self.captured.module.graph.nodes if n.name == site.node)
        return parameters_of(self.captured.module)[str(node.target)].detach()

    def quantizer(self, site: Site, scheme: Scheme) -> FakeQuantize:
        """A FakeQuantize whose range the scheme's observer derives.

        Groups of a size that does not divide a layer's filters shrink there to one that does.
        """
        if site.role == "weight":
            scheme = _fit_groups(scheme, self.weight(site)[0].numel())
        axis = 0 if site.role == "weight" and scheme.granularity != "per_tensor" else None
        try:
            q = observers.qparams_of(self.rows(site, scheme), scheme, axis)
        except InvalidInputError as error:
            raise InvalidInputError(f"{site.name}: {error}") from error
        return FakeQuantize(site, scheme, q)

    def simulate(self, recipe: Recipe) -> SimulatedModel:
        """The simulated model of a recipe; this observation stays as it is."""
        quantizers = {
            site.name: self.quantizer(site, scheme_of(site, recipe))
            for site in self.placement.sites.values()
        }
        model = SimulatedModel(self.captured, self.placement, self.target, recipe, quantizers)
        model.fit_biases()
        return model.eval()


def _fit_groups(scheme: Scheme, values: int) -> Scheme:
    """The scheme with the largest group size up to the one asked for that divides ``values``."""
    if scheme.group_size is None:
        return scheme
    sizes = range(min(scheme.group_size, values), 0, -1)
    return replace(scheme, group_size=next(size for size in sizes if values % size == 0))


def scheme_of(site: Site, recipe: Recipe) -> Scheme:
    """The scheme a recipe gives to a site, by its role."""
    return {
        "weight": recipe.weights,
        "activation": recipe.activations,
        "boundary": recipe.boundary,
    }[site.role]


def observe(
    model: nn.Module,
    batches: Iterable[Any] | Tensor,
    target_name: str = "onnxruntime",
    *,
    allow_float: bool = False,
    progress: bool = False,
) -> Observation:
    """Run calibration pictures through the float model once and keep statistics.

    Memory is one batch of activations plus one histogram of fixed size per tensor, whatever the
    number of batches.

    Args:
        batches: batches ``x [B, ...]`` or ``(x, label)``, or one tensor of all pictures.

    Raises:
        InvalidInputError: no batches, NaN or Inf in the data, shapes that do not fit.
        UnsupportedError: the model cannot be traced or holds an operator without integer kernel.
    """
    stream = _inputs(batches)
    first = next(stream, None)
    if first is None:
        raise InvalidInputError("the calibration set is empty: give at least one batch of pictures")
    captured = capture(model, first)
    placement = place(captured.module, target(target_name), allow_float=allow_float)
    statistics = {
        site.name: Statistic(name=site.name)
        for site in placement.sites.values()
        if site.role != "weight"
    }
    watcher = _Watcher(captured, placement, statistics)
    pictures = 0
    bar = tqdm(desc="calibration", unit="picture", disable=not progress)
    with bar:
        for batch in _chain(first, stream):
            captured.check(batch)
            watcher.run(batch)
            pictures += len(batch)
            bar.update(len(batch))
    return Observation(captured, placement, target(target_name), statistics, pictures)


def calibrate(
    model: nn.Module,
    batches: Iterable[Any] | Tensor,
    recipe: Recipe | None = None,
    *,
    target: str = "onnxruntime",
    allow_float: bool = False,
    progress: bool = False,
) -> SimulatedModel:
    """Post-training quantization: observe, then simulate the recipe (W8A8 per channel if None).

    Raises: as ``observe``.

    >>> layer = nn.Sequential(nn.Linear(4, 2))
    >>> calibrate(layer, torch.randn(32, 4)).recipe.label
    'W8A8'
    """
    kept = observe(model, batches, target, allow_float=allow_float, progress=progress)
    return kept.simulate(recipe or Recipe())


class _Watcher(Interpreter):
    """Runs the graph, hands every activation site's value to its statistic, frees values early."""

    def __init__(
        self, captured: Captured, placement: Placement, statistics: dict[str, Statistic]
    ) -> None:
        super().__init__(captured.module)
        self.by_node = {
            site.node: statistics[site.name]
            for site in placement.sites.values()
            if site.role != "weight"
        }

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        statistic = self.by_node.get(n.name)
        if statistic is not None:
            statistic.observe(value)
        return value

    def run(self, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return super().run(*args, **kwargs)


def _inputs(batches: Iterable[Any] | Tensor) -> Iterator[Tensor]:
    """The pictures of each batch, labels dropped."""
    if isinstance(batches, Tensor):
        if batches.ndim == 0:
            raise InvalidInputError("calibration pictures are a single number: give [N, ...]")
        batches = torch.split(batches, CHUNK) if batches.numel() else ()
    for index, batch in enumerate(batches):
        x = batch[0] if isinstance(batch, tuple | list) else batch
        if not isinstance(x, Tensor):
            raise InvalidInputError(
                f"calibration batch {index} is a {type(x).__name__}: "
                "give tensors or (tensor, label) pairs"
            )
        if x.numel():
            yield x


def _chain(first: Tensor, rest: Iterator[Tensor]) -> Iterator[Tensor]:
    yield first
    yield from rest
