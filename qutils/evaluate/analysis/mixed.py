"""Mixed precision: some layers by one recipe, all others by another."""

from __future__ import annotations

from collections.abc import Collection

from qutils.errors import known_names
from qutils.graph import Site
from qutils.graph.targets import settled
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import Observation, scheme_of
from qutils.quantize.simulate import SimulatedModel


def mixed(
    observation: Observation, recipe: Recipe, layers: Collection[str], other: Recipe
) -> SimulatedModel:
    """Simulate ``recipe``, but weights and output of the named ``layers`` by ``other``.

    Args:
        layers: names as ``layers_of`` has them, ``stem.0`` say; none gives ``recipe`` alone.

    Raises:
        InvalidInputError: an unknown layer; the closest is suggested.

    >>> import torch
    >>> from qutils.quantize.calibration import observe
    >>> from qutils.numerics.schemes import Scheme
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> sim = mixed(observe(net, torch.randn(8, 4)), Recipe(Scheme(4)), ["0"], Recipe())
    >>> {name: q.scheme.bits for name, q in sim.quantizers.items()}
    {'input': 8, '0.weight': 8, '0': 8, '2.weight': 4}
    """
    placement = observation.placement
    target = observation.target
    recipe, other = (settled(target.adapt(one), target.name) for one in (recipe, other))
    if layers:
        known_names("layer", layers, dict.fromkeys(map(_layer, placement.sites.values())))
    quantizers = {}
    for site in placement.sites.values():
        scheme = scheme_of(site, other if _layer(site) in layers else recipe)
        quantizers[site.name] = observation.quantizer(site, scheme)
    model = SimulatedModel(
        observation.captured,
        placement,
        target,
        recipe,
        quantizers,
        observation.samples,
    )
    model.fit_scales()
    return model.eval()


def _layer(site: Site) -> str:
    """The layer of a weight, or the layer whose output an activation is; as in ``layers_of``."""
    return site.layer if site.role == "weight" else site.name
