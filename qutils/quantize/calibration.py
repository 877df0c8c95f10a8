"""Calibration: watch the float model once, then derive any recipe's ranges from what was kept."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Interpreter, Node
from tqdm.auto import tqdm

from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph import Captured, Placement, Site, Target, capture, place, target
from qutils.graph.axes import Dynamic
from qutils.graph.batches import CHUNK, inputs_of, opened
from qutils.graph.inputs import INPUT
from qutils.graph.lookups import outside
from qutils.graph.nodes import layer_of, op_name, stored
from qutils.graph.signature import Batch, Signature
from qutils.graph.targets import settled
from qutils.numerics import observers
from qutils.numerics.affine import qparams
from qutils.numerics.observers.rows import Rows
from qutils.numerics.observers.statistic import Statistic
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.simulate import FakeQuantize, SimulatedModel

#: Calibration samples that a simulated model keeps, with which a written file is verified.
SAMPLES = 4
#: They take no more bytes than this, unless one alone does.
SAMPLE_BYTES = 8 << 20


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
    samples: Batch | None = None  # the first few, at most SAMPLE_BYTES

    @property
    def nbytes(self) -> int:
        """Bytes of the kept histograms: the same whatever was observed."""
        return sum(statistic.counts_.nbytes for statistic in self.statistics.values())

    def blank(self) -> Observation:
        """The same network with nothing observed: for other pictures, without tracing it again."""
        statistics = {name: Statistic(name=name) for name in self.statistics}
        return replace(self, statistics=statistics, pictures=0, samples=None)

    def extended(self, batches: Iterable[Any] | Batch, *, progress: bool = False) -> Observation:
        """What is kept after further pictures; this observation stays as it is.

        For lists of batches, ``kept.extended(a).extended(b)`` keeps what ``kept.extended(a + b)``
        keeps, to the bit.

        Args:
            batches: as ``observe`` takes them; none at all adds nothing.

        Raises:
            InvalidInputError: NaN or Inf in the data, shapes that do not fit.
        """
        statistics = copy.deepcopy(self.statistics)
        watcher = _Watcher(self.captured, self.placement, statistics)
        pictures, kept, signature = self.pictures, self.samples, self.captured.signature
        with tqdm(desc="calibration", unit=" inputs", disable=not progress) as bar:
            for batch in inputs_of(self._split(batches)):
                given = signature.arguments(batch)
                watcher.run(*given)
                kept = _few(signature, batch, given) if kept is None else kept
                pictures += signature.samples(given)
                bar.update(signature.samples(given))
        return replace(self, statistics=statistics, pictures=pictures, samples=kept)

    def _split(self, batches: Any) -> Any:
        """All samples by input name as batches; other batches as they are."""
        if not isinstance(batches, Mapping):
            return batches
        layout, signature = self.captured.signature.layout, self.captured.signature
        whole = signature.samples(signature.arguments(batches))
        return (
            layout.part(batches, start, min(start + CHUNK, whole))
            for start in range(0, whole, CHUNK)
        )

    def rows(self, site: Site, scheme: Scheme) -> Rows:
        """The values of a site: its kept statistic, or the weight itself."""
        if site.role != "weight":
            return self.statistics[site.name].rows()
        axis = None if scheme.granularity == "per_tensor" else 0
        return observers.rows_of(self.weight(site), axis, scheme.group_size)

    def weight(self, site: Site) -> Tensor:
        """The float weight ``[C, ...]`` of a weight site."""
        return stored(self.captured.module, site.node)

    def quantizer(self, site: Site, scheme: Scheme) -> FakeQuantize:
        """A FakeQuantize whose range the scheme's observer derives, unless the kernel fixes it.

        Groups of a size that does not divide a layer's filters shrink there to one that does.
        """
        if site.fixed is not None:
            low, high = (torch.tensor(end) for end in site.fixed)
            return FakeQuantize(site, scheme, qparams(low, high, scheme))
        if site.role == "weight":
            scheme = fit_groups(scheme, self.weight(site)[0].numel())
        axis = 0 if site.role == "weight" and scheme.granularity != "per_tensor" else None
        try:
            q = observers.qparams_of(self.rows(site, scheme), scheme, axis)
        except InvalidInputError as error:
            raise InvalidInputError(f"{site.name}: {error}") from error
        return FakeQuantize(site, scheme, q)

    def simulate(self, recipe: Recipe) -> SimulatedModel:
        """The simulated model of a recipe, in the target's integers (``Target.adapt``).

        The result's recipe says whether its weights are ``saturation_safe``: True or False.
        This observation stays as it is.
        """
        _check_recipe(recipe)
        recipe = settled(self.target.adapt(recipe), self.target.name)
        quantizers = {
            site.name: self.quantizer(site, scheme_of(site, recipe))
            for site in self.placement.sites.values()
        }
        model = SimulatedModel(
            self.captured, self.placement, self.target, recipe, quantizers, self.samples
        )
        model.fit_scales()
        return model.eval()


def fit_groups(scheme: Scheme, values: int) -> Scheme:
    """The scheme with the largest group size up to the one asked for that divides ``values``.

    >>> fit_groups(Scheme(granularity="per_group", group_size=4), values=9).group_size
    3
    """
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
    batches: Iterable[Any] | Batch,
    target_name: str = "onnxruntime",
    *,
    strict: bool = False,
    keep_float: Collection[str] = (),
    dynamic: Dynamic | None = None,
    progress: bool = False,
) -> Observation:
    """Run calibration pictures through the float model once and keep statistics.

    Memory is one batch of activations plus one histogram of fixed size per tensor, whatever the
    number of batches.

    Args:
        batches: batches ``x [B, ...]`` or ``(x, label)``, or one tensor of all pictures. A network
            with several inputs, or with integer ones, takes dicts of tensors by the names of its
            inputs: one dict of all samples, or one a batch.
        strict: refuse operators without an integer kernel, which otherwise stay in float. Scores
            of a mask stay in float even so, and the weights of attention on LiteRT, of which 8
            bits would leave little.
        keep_float: modules that stay in float although there are kernels for them.
        dynamic: axes of any size, as ``{"ids": {1: "sequence"}}``; see ``capture``. Without it,
            axes that differ between batches are open: between those of a list, and of named inputs
            from a generator between the first few.

    Raises:
        InvalidInputError: no batches, NaN or Inf in the data, shapes that do not fit, an unknown
            module to keep.
        UnsupportedError: the model cannot be traced; or ``strict``, and an operator has no integer
            kernel.
    """
    forward = inspect.signature(model.forward).parameters if isinstance(model, nn.Module) else {}
    first, stream, axes = opened(batches, dynamic, next(iter(forward), INPUT))
    try:
        captured = capture(model, first, axes)
    except UnsupportedError:
        if dynamic is not None or not isinstance(first, Tensor) or not axes.names[INPUT]:
            raise
        captured = capture(model, first)  # of one size: what differs is named when it comes
    placement = place(captured.module, target(target_name), strict=strict, keep_float=keep_float)
    statistics = {
        site.name: Statistic(name=site.name)
        for site in placement.sites.values()
        if site.role != "weight"
    }
    blank = Observation(captured, placement, target(target_name), statistics, pictures=0)
    return blank.extended(stream, progress=progress)


def calibrate(
    model: nn.Module,
    batches: Iterable[Any] | Batch,
    recipe: Recipe | None = None,
    *,
    target: str = "onnxruntime",
    strict: bool = False,
    keep_float: Collection[str] = (),
    dynamic: Dynamic | None = None,
    progress: bool = False,
) -> SimulatedModel:
    """Post-training quantization: observe, then simulate the recipe (W8A8 per channel if None).

    A ``group_size`` that does not divide a layer's filters shrinks there to the largest size that
    does; ``print(sim)`` shows what each layer got.

    The model keeps up to ``SAMPLES`` samples (``SAMPLE_BYTES`` at most), with which ``q.export``
    verifies the file that it writes.

    Warns where less than 90 % of the multiply-adds run in integer kernels, and names the operators;
    ``calibrate(...).coverage`` says it all.

    Raises: as ``observe``.

    >>> layer = nn.Sequential(nn.Linear(4, 2))
    >>> calibrate(layer, torch.randn(32, 4)).recipe.label
    'W8A8'
    """
    _check_recipe(recipe := recipe or Recipe())
    kept = observe(
        model,
        batches,
        target,
        strict=strict,
        keep_float=keep_float,
        dynamic=dynamic,
        progress=progress,
    )
    sim = kept.simulate(recipe)
    if reason := sim.coverage.warning:
        warnings.warn(f"{reason} print(sim.coverage) says more.", stacklevel=2)
    return sim


def _few(signature: Signature, batch: Batch, given: Sequence[Tensor]) -> Batch:
    """The first ``SAMPLES`` samples of a batch, fewer if they are large."""
    each = sum(x.nbytes for x in given) / signature.samples(given)
    return signature.part(batch, max(1, min(SAMPLES, int(SAMPLE_BYTES // each))))


def _check_recipe(recipe: object) -> None:
    if not isinstance(recipe, Recipe):
        raise InvalidInputError(
            f"the recipe is a {type(recipe).__name__}: give q.Recipe(weights=q.Scheme(bits=8))"
        )


class _Watcher(Interpreter):
    """Runs the graph, hands every activation site's value to its statistic, frees values early."""

    def __init__(
        self, captured: Captured, placement: Placement, statistics: dict[str, Statistic]
    ) -> None:
        super().__init__(captured.module)
        self.extra_traceback = False  # a refusal speaks for itself, without the graph around it
        self.by_node = {
            site.node: statistics[site.name]
            for site in placement.sites.values()
            if site.role != "weight"
        }

    def run_node(self, n: Node) -> Any:
        if op_name(n) == "embedding":
            weight, indices = self.fetch_args_kwargs_from_env(n)[0][:2]
            if (error := outside(layer_of(n), len(weight), indices)) is not None:
                raise error
        value = super().run_node(n)
        statistic = self.by_node.get(n.name)
        if statistic is not None:
            statistic.observe(value)
        return value

    def run(self, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return super().run(*args, **kwargs)
