"""A simulated model that follows sliders: ranges derived once, one model changed in place."""

from __future__ import annotations

import copy

import torch

from qutils.graph import Site
from qutils.graph.targets import settled
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import Observation, scheme_of
from qutils.quantize.simulate import FakeQuantize, SimulatedModel


class Ranges:
    """The quantizers of an observation, each derived when it is first asked for and then kept.

    Memory: one scale and zero point for each site and scheme asked for, a few kB a model.
    """

    def __init__(self, observation: Observation) -> None:
        self.observation = observation
        self._kept: dict[tuple[str, Scheme], FakeQuantize] = {}

    def quantizer(self, site: Site, scheme: Scheme) -> FakeQuantize:
        """As ``Observation.quantizer``, but the same object every time: read it, do not change it.

        Raises: as ``Observation.quantizer``.
        """
        key = (site.name, scheme)
        if key not in self._kept:
            self._kept[key] = self.observation.quantizer(site, scheme)
        return self._kept[key]

    def prepare(self, recipe: Recipe) -> dict[str, FakeQuantize]:
        """The quantizers of a whole recipe, by site name; all of them or an error."""
        sites = self.observation.placement.sites.values()
        return {site.name: self.quantizer(site, scheme_of(site, recipe)) for site in sites}


class InstantModel:
    """``simulate(recipe)`` as ``Observation.simulate``, without building a model each time.

    It gives the same model each time, changed in place: use it before the next call, or ``copy()``
    it (to train it, say). Several of these may share one ``Ranges``. Not for several threads.
    """

    def __init__(self, observation: Observation, ranges: Ranges | None = None) -> None:
        self.observation = observation
        self.ranges = ranges or Ranges(observation)
        self._model: SimulatedModel | None = None
        self._quantizers: dict[str, FakeQuantize] = {}

    def simulate(self, recipe: Recipe) -> SimulatedModel:
        """The model of a recipe, bit for bit that of ``Observation.simulate(recipe)``.

        An error leaves the model as it was.

        Raises: as ``Observation.simulate``.
        """
        target = self.observation.target
        recipe = settled(target.adapt(recipe), target.name)
        wanted = self.ranges.prepare(recipe)
        if self._model is None:
            self._model = self._build(recipe, wanted)
        for name, quantizer in self._quantizers.items():
            _follow(quantizer, wanted[name])
        self._model.recipe = recipe
        self._model.fit_scales()
        return self._model

    def _build(self, recipe: Recipe, wanted: dict[str, FakeQuantize]) -> SimulatedModel:
        kept = self.observation
        self._quantizers = copy.deepcopy(wanted)
        model = SimulatedModel(
            kept.captured, kept.placement, kept.target, recipe, self._quantizers, kept.samples
        )
        return model.eval()


@torch.no_grad()
def _follow(quantizer: FakeQuantize, wanted: FakeQuantize) -> None:
    """Give ``quantizer`` the scheme, scale and zero point of ``wanted``, which stays its own."""
    quantizer.scheme, quantizer.axis = wanted.scheme, wanted.axis
    quantizer.scale.data = wanted.scale.data.clone()
    quantizer.zero_point.data = wanted.zero_point.data.clone()
