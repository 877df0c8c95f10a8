from __future__ import annotations

import copy
import weakref

import pytest
import torch
from torch import Tensor, nn

from qutils.errors import InvalidInputError
from qutils.graph.batches import CHUNK
from qutils.numerics.observers import OBSERVERS
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import Observation, calibrate, observe
from tests.unit.graph.networks import NETWORKS, observed

RECIPES = {
    **{name: Recipe(activations=Scheme(observer=name)) for name in OBSERVERS},
    "W4A4": Recipe(
        weights=Scheme(bits=4, granularity="per_channel", observer="mse"),
        activations=Scheme(bits=4, observer="mse"),
    ),
    "per-group": Recipe(weights=Scheme(bits=2, granularity="per_group", group_size=4)),
    "signed": Recipe(activations=Scheme(signed=True, symmetric=True)),
}


SMALL = NETWORKS["linear-bn1d"]


@pytest.fixture(scope="module")
def x() -> Tensor:
    return SMALL.inputs(130)  # two whole chunks and a rest


@pytest.fixture(scope="module")
def kept(x) -> Observation:
    return observe(SMALL.make(), x)


def assert_same(a: nn.Module, b: nn.Module) -> None:
    left, right = a.state_dict(), b.state_dict()
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def kept_bytes(kept: Observation) -> int:
    return sum(
        value.nbytes
        for statistic in kept.statistics.values()
        for value in vars(statistic).values()
        if isinstance(value, Tensor)
    )


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_one_observation_serves_every_recipe(kept, x, recipe):
    before = copy.deepcopy({k: vars(s) for k, s in kept.statistics.items()})
    again = kept.simulate(recipe)
    afresh = observe(SMALL.make(), x).simulate(recipe)
    assert_same(again, afresh)
    for name, statistic in kept.statistics.items():
        for field, value in vars(statistic).items():
            same = torch.equal(value, before[name][field]) if isinstance(value, Tensor) else True
            assert same
            assert isinstance(value, Tensor) or value == before[name][field]


def assert_same_kept(a: Observation, b: Observation) -> None:
    assert a.pictures == b.pictures
    assert a.statistics.keys() == b.statistics.keys()
    for name, one in a.statistics.items():
        other = dict(vars(b.statistics[name]))
        counts = other.pop("counts_")
        assert torch.equal(one.counts_, counts)
        assert {k: v for k, v in vars(one).items() if k in other} == other


def test_observing_in_parts_keeps_what_one_pass_keeps(x):
    batches = list(torch.split(x, 40))
    whole = observe(SMALL.make(), batches)
    parts = observe(SMALL.make(), batches[:1]).extended(batches[1:3]).extended(batches[3:])
    assert_same_kept(parts, whole)
    assert_same_kept(parts.blank().extended(batches), whole)
    assert_same_kept(whole.extended([]), whole)


def test_extending_leaves_the_observation_as_it_is(kept, x):
    before = copy.deepcopy(kept)
    more = kept.extended(3 * x)
    assert more.pictures == 2 * kept.pictures
    assert more.nbytes == kept.nbytes == kept_bytes(kept)
    assert_same_kept(kept, before)
    with pytest.raises(InvalidInputError, match="NaN or Inf"):
        kept.extended([x[:40], torch.full_like(x[:40], torch.nan)])
    assert_same_kept(kept, before)


def test_a_blank_observation_refuses_to_simulate(kept):
    assert kept.blank().pictures == 0
    with pytest.raises(InvalidInputError, match="at least one batch"):
        kept.blank().simulate(Recipe())


def test_simulated_models_are_independent_of_each_other(kept, x):
    first, second = kept.simulate(Recipe()), kept.simulate(Recipe())
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert_same(second, kept.simulate(Recipe()))


def in_batches(x: Tensor, size: int = CHUNK):
    return [x[i : i + size] for i in range(0, len(x), size)]


@pytest.mark.parametrize(
    "give",
    [
        in_batches,
        lambda x: (batch for batch in in_batches(x)),
        lambda x: [(batch, torch.zeros(len(batch))) for batch in in_batches(x)],
        lambda x: [[batch, None] for batch in in_batches(x)],
        lambda x: torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), CHUNK),
        lambda x: [x[:0], *in_batches(x), x[:0]],
    ],
    ids=["list", "generator", "pairs", "lists", "data-loader", "with-empty-batches"],
)
def test_ways_to_give_the_same_pictures(kept, x, give):
    other = observe(SMALL.make(), give(x))
    assert other.pictures == 130
    for recipe in (RECIPES["minmax"], RECIPES["moving_average"]):
        assert_same(other.simulate(recipe), kept.simulate(recipe))


def test_the_size_of_the_batches_does_not_matter(kept, x):
    other = observe(SMALL.make(), in_batches(x, 13))
    for observer in ("minmax", "percentile", "mse", "entropy"):
        quantizers = other.simulate(RECIPES[observer]).quantizers
        for name, expected in kept.simulate(RECIPES[observer]).quantizers.items():
            torch.testing.assert_close(
                quantizers[name].scale, expected.scale, rtol=1e-4, atol=0, msg=f"{observer} {name}"
            )


def test_the_order_of_the_batches_does_not_matter(kept, x):
    batches = in_batches(x)[::-1]
    assert_same(observe(SMALL.make(), batches).simulate(Recipe()), kept.simulate(Recipe()))


def test_memory_does_not_grow_with_the_number_of_batches(kept, x):
    long = observe(SMALL.make(), (x for _ in range(5)))
    assert long.pictures == 5 * 130
    assert kept_bytes(long) == kept_bytes(kept)
    assert kept_bytes(kept) / len(kept.statistics) < 64_000


def test_batches_are_freed_one_by_one(x):
    given: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def stream():
        for _ in range(9):
            alive.append(sum(reference() is not None for reference in given))
            batch = torch.randn(4, *SMALL.shape)
            given.append(weakref.ref(batch))
            yield batch

    observe(SMALL.make(), stream())
    assert max(alive) <= 2  # the first, which captured the graph, and the one at hand


def test_statistics_are_those_of_the_float_network():
    model, x = NETWORKS["ten-lines"].make().eval(), NETWORKS["ten-lines"].inputs()
    kept = observed("ten-lines")
    with torch.no_grad():
        hidden = model[:3](x.clone())
    statistic = kept.statistics["0"]
    assert statistic.count_ == hidden.numel()
    assert statistic.min_ == 0
    assert statistic.max_ == pytest.approx(float(hidden.max()), rel=1e-5)
    assert kept.statistics.keys() == {"input", "0", "4"}


def test_the_callers_model_is_left_alone(x):
    model = SMALL.make()
    before = copy.deepcopy(model.state_dict())
    calibrate(model, x)
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_calibrate_is_observe_then_simulate(kept, x):
    sim = calibrate(SMALL.make(), x)
    assert_same(sim, kept.simulate(Recipe()))
    assert not sim.training
    assert not any(p.requires_grad for q in sim.quantizers.values() for p in q.parameters())
    assert sim.recipe.label == "W8A8"


def test_the_input_follows_the_boundary_scheme(kept):
    sim = kept.simulate(Recipe(activations=Scheme(bits=2), weights=Scheme(bits=3)))
    bits = {name: quantizer.scheme.bits for name, quantizer in sim.quantizers.items()}
    assert bits["input"] == 8
    assert {bits[name] for name in bits if name != "input"} == {2, 3}


@pytest.mark.parametrize(("asked", "got"), [(9, [9, 9, 8]), (64, [27, 36, 64]), (1, [1, 1, 1])])
def test_layers_take_the_largest_group_that_divides_them(asked, got):
    """A filter of the three layers holds 27, 72 and 256 values."""
    kept, x = observed("ten-lines"), NETWORKS["ten-lines"].inputs()
    scheme = Scheme(bits=2, granularity="per_group", group_size=asked)
    sim = kept.simulate(Recipe(weights=scheme))
    weights = [q for q in sim.quantizers.values() if q.site.role == "weight"]
    assert [q.scheme.group_size for q in weights] == got
    assert [q.scale.numel() * size for q, size in zip(weights, got, strict=True)] == [
        *(8 * 27, 16 * 72, 10 * 256)
    ]
    shown = [line for line in str(sim).splitlines() if "group_size" in line]
    assert [f"group_size={size})" in line for size, line in zip(got, shown, strict=True)] == [
        True
    ] * 3
    assert torch.isfinite(sim(x)).all()


def test_unbounded_activations_name_the_layer():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    nn.init.constant_(model[0].weight, 1e38)
    with pytest.raises(InvalidInputError, match="^0 holds NaN or Inf"):
        calibrate(model, torch.full((2, 4), 10.0))


@pytest.mark.parametrize("progress", [False, True])
def test_progress_is_shown_on_request(progress, x, capsys):
    observe(SMALL.make(), x[:4], progress=progress)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("4" in captured.err) == progress
