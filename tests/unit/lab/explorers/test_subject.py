from __future__ import annotations

import pytest
import torch
from torch import nn

from qutils import calibrate, zoo
from qutils.errors import InvalidInputError
from qutils.evaluate import bench
from qutils.evaluate.analysis import compare_layers, estimated_size, float_activations, sqnr_db
from qutils.lab.explorers.subject import (
    CALIBRATION,
    Subject,
    own_subject,
    with_threads,
    zoo_subject,
)
from qutils.numerics.schemes import Recipe, Scheme

N = 150  # more than one batch
RECIPES = {
    "W4A8": Recipe(Scheme(4, granularity="per_channel"), Scheme(8)),
    "W3A4 mse": Recipe(Scheme(3, observer="mse"), Scheme(4, observer="mse")),
    "symmetric": Recipe(Scheme(8), Scheme(6, signed=True, symmetric=True)),
}


@pytest.fixture(scope="module")
def subject() -> Subject:
    return zoo_subject("resnet8", N)


@pytest.fixture(scope="module")
def test_split() -> zoo.Split:
    return zoo.dataset("fashion_mnist").test.take(N)


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()


def pictures(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 3, 8, 8, generator=generator)
    return x, torch.arange(count) % 3


@pytest.mark.parametrize("name", list(RECIPES))
def test_an_outcome_is_what_the_library_says_of_the_recipe(subject, test_split, name):
    recipe = RECIPES[name]
    split = zoo.dataset("fashion_mnist").calibration.take(CALIBRATION)
    sim = calibrate(zoo.load("resnet8"), split.prepare(split.images), recipe)
    batches = [(x.numpy(), y.numpy()) for x, y in test_split]
    x = test_split.prepare(test_split.images)
    with torch.no_grad():
        logits, before = sim(x), subject.observation.captured.module(x)

    found = subject.outcome(recipe)

    expected = bench.evaluate(bench.predict_with(sim), batches)
    assert (found.top1, found.n, found.interval) == (expected.top1, N, expected.interval)
    same = bench.agreement(before.argmax(1).numpy(), logits.argmax(1).numpy())
    assert found.agreement == pytest.approx(same)
    assert 100 * (1 - len(found.flips) / N) == pytest.approx(same)
    assert found.logits_sqnr_db == pytest.approx(sqnr_db(before, logits), abs=0.05)
    assert found.gain.points == pytest.approx(found.top1 - subject.top1)
    assert found.size == estimated_size(sim)
    for site, q in found.qparams.items():
        assert torch.equal(q.scale, sim.quantizers[site].qparams().scale)
        assert torch.equal(q.zero_point, sim.quantizers[site].qparams().zero_point)


def test_layers_are_those_of_the_first_batch(subject):
    x = subject.test.x[: subject.layer_pictures]
    kept = subject.observation
    sim = kept.simulate(RECIPES["W4A8"])
    expected = compare_layers(float_activations(kept.captured, kept.placement, x), sim).layers
    assert subject.outcome(RECIPES["W4A8"]).layers == expected
    assert subject.layer_pictures < N


def test_float_accuracy_is_that_of_the_model(subject, test_split):
    batches = [(x.numpy(), y.numpy()) for x, y in test_split]
    expected = bench.evaluate(bench.predict_with(zoo.load("resnet8")), batches)
    assert subject.top1 == expected.top1


def test_an_outcome_does_not_depend_on_what_was_asked_before(subject):
    first = subject.outcome(RECIPES["W4A8"])
    subject.outcome(RECIPES["W3A4 mse"])
    assert subject.outcome(RECIPES["W4A8"]) == first


@pytest.mark.parametrize(
    "name",
    [
        "resnet8-w2a8",
        pytest.param("mobilenetv2-w4a4", marks=pytest.mark.slow(reason="a larger network")),
    ],
)
def test_a_trained_network_is_the_shipped_one_bit_for_bit(name):
    made = zoo.QAT_CHECKPOINTS[name]
    subject = zoo_subject(made.model, 2)
    expected = zoo.load_quantized(made.model, made.weight_bits, made.activation_bits)
    found = subject.trained(made)
    assert found.recipe == expected.recipe
    with torch.no_grad():
        assert torch.equal(found(subject.test.x), expected(subject.test.x))


def test_a_trained_network_shows_its_own_weights_and_activations(subject):
    made = zoo.QAT_CHECKPOINTS["resnet8-w2a8"]
    found = subject.outcome_of(subject.trained(made), own_weights=True)
    site = subject.sites["stage1.conv1.weight"]
    assert not torch.equal(subject.weight(site, found), subject.observation.weight(site))
    assert set(found.statistics) == set(subject.observation.statistics)
    kept, trained = subject.observation.statistics["stage3"], found.statistics["stage3"]
    assert trained.max_ != kept.max_
    ptq = subject.outcome(RECIPES["W4A8"])
    assert torch.equal(subject.weight(site, ptq), subject.observation.weight(site))


def test_of_own_pictures_half_give_ranges_and_the_others_are_scored():
    x, labels = pictures()
    found = own_subject(tiny(), (x, labels))
    rows = {tuple(picture.flatten().tolist()) for picture in x}
    fitted = {tuple(picture.flatten().tolist()) for picture in found.calibration}
    scored = {tuple(picture.flatten().tolist()) for picture in found.test.x}
    assert fitted | scored == rows
    assert not fitted & scored
    assert found.observation.pictures == len(fitted) == 20
    again = own_subject(tiny(), (x, labels))
    assert torch.equal(again.test.x, found.test.x)
    assert found.test.classes == ("class 0", "class 1", "class 2")


def test_the_model_stays_as_it_is():
    model = tiny().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    own_subject(model, pictures()).outcome(Recipe())
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_activations_of_large_pictures_are_kept_of_fewer(monkeypatch):
    monkeypatch.setattr("qutils.lab.explorers.subject.KEPT_BYTES", 20_000)
    found = own_subject(tiny(), pictures())
    assert 1 <= found.layer_pictures < len(found.test.x)
    assert found.outcome(Recipe()).n == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:1], y[:1]), "1 pictures are too few"),
        (lambda x, y: (x, y[:-1]), "do not fit labels"),
        (lambda x, y: (x, y + 1), "3 classes apart"),
        (lambda x, y: (x[:, :, :4], y), "does not run on input"),
        (lambda x, y: (x * float("nan"), y), "NaN"),
    ],
)
def test_data_that_does_not_fit_is_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        own_subject(tiny(), change(*pictures()))


def test_class_names_have_to_reach():
    with pytest.raises(InvalidInputError, match="2 class names do not fit labels up to 2"):
        own_subject(tiny(), pictures(), classes=("cat", "dog"))


def test_a_network_without_logits_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(InvalidInputError, match="classes are told from logits"):
        own_subject(model, pictures())


def test_threads_are_as_before_afterwards():
    before = torch.get_num_threads()
    with with_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
