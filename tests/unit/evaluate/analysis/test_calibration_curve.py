from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis.calibration_curve import (
    Unseen,
    learning_curve,
    observed_after,
    share_beyond,
)
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import Observation, observe
from qutils.zoo import Split

torch.manual_seed(0)
MODEL = nn.Sequential(
    nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
).eval()
W8A8 = Recipe(activations=Scheme(observer="mse"))
W8A2 = Recipe(activations=Scheme(bits=2))


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.randn(75, 1, 8, 8) * torch.linspace(0.5, 2, 75)[:, None, None, None]


@pytest.fixture(scope="module")
def kept(pictures) -> Observation:
    return observe(MODEL, pictures[:1])


@pytest.fixture(scope="module")
def unseen() -> Unseen:
    images = torch.randint(0, 256, (200, 1, 8, 8), dtype=torch.uint8)
    split = Split("toy", images, torch.zeros(200, dtype=torch.int64))
    x = split.prepare(images)
    with torch.no_grad():
        return Unseen.of(MODEL, Split("toy", images, MODEL(x).argmax(dim=1)))


@pytest.mark.parametrize("batch_size", [1, 7, 32, 100])
def test_one_pass_keeps_what_each_calibration_would(kept, pictures, batch_size):
    counts = (64, 1, 7, 31, 75)
    found = observed_after(kept, pictures, counts, batch_size)
    assert list(found) == sorted(counts)
    for n, after in found.items():
        alone = observe(MODEL, list(pictures[:n].split(batch_size)))
        assert after.pictures == n
        for name, statistic in after.statistics.items():
            other = alone.statistics[name]
            assert statistic.count_ == other.count_
            # another batch size may round a sum differently: a value may cross to the next bin
            assert (statistic.counts_ - other.counts_).abs().sum() <= 2e-3 * other.count_ + 2
            for field in ("min_", "max_", "running_min_", "running_max_"):
                assert getattr(statistic, field) == pytest.approx(getattr(other, field), rel=1e-5)
    assert kept.pictures == 1


@pytest.mark.parametrize("counts", [[], [0], [76]])
def test_impossible_counts_are_refused(kept, pictures, counts):
    with pytest.raises(InvalidInputError, match=r"1\.\.75"):
        observed_after(kept, pictures, counts)
    with pytest.raises(InvalidInputError, match="batch size"):
        observed_after(kept, pictures, [1], 0)


def test_scores_are_those_of_the_simulated_models(kept, pictures, unseen):
    assert unseen.top1 == 100  # its labels are the float network's answers
    draws = [pictures, pictures.flip(0)]
    points = learning_curve(kept, draws, [5, 40], [W8A8, W8A2], unseen)
    assert [(p.draw, p.pictures, p.activation_bits, p.observer) for p in points] == [
        (draw, n, bits, observer)
        for draw in (0, 1)
        for n in (5, 40)
        for bits, observer in ((8, "mse"), (2, "minmax"))
    ]
    for p in points:
        sim = observe(MODEL, list(draws[p.draw][: p.pictures].split(32))).simulate(
            W8A8 if p.activation_bits == 8 else W8A2
        )
        with torch.no_grad():
            logits = sim(unseen.x)
        noise = (logits - unseen.logits).double().square().sum()
        sqnr = 10 * torch.log10(unseen.logits.double().square().sum() / noise)
        assert p.sqnr_db == pytest.approx(float(sqnr), abs=0.05)
        same = (logits.argmax(dim=1) == unseen.labels).double().mean()
        assert p.top1 == pytest.approx(100 * float(same), abs=1)


def test_points_do_not_depend_on_what_else_is_asked(kept, pictures, unseen):
    many = learning_curve(kept, [pictures], [3, 20, 75], [W8A8], unseen)
    (one,) = learning_curve(kept, [pictures], [75], [W8A8], unseen)
    assert many[-1] == one


def test_nothing_to_do_is_refused(kept, pictures, unseen):
    with pytest.raises(InvalidInputError, match="one draw and one recipe"):
        learning_curve(kept, [], [1], [W8A8], unseen)
    with pytest.raises(InvalidInputError, match="one draw and one recipe"):
        learning_curve(kept, [pictures], [1], [], unseen)


def test_a_model_in_training_mode_is_refused(unseen):
    split = Split("toy", torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(1).long())
    with pytest.raises(InvalidInputError, match="training mode"):
        Unseen.of(nn.Sequential(nn.Flatten(), nn.Dropout()), split)


@pytest.mark.parametrize("power", [1, 7], ids=["plain", "heavy tails"])
def test_one_in_n_plus_one_exceeds_whatever_the_distribution(power):
    counts, shares = [1, 4, 19], []
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        seen, unseen = torch.randn(2, 1000, generator=generator) ** power
        shares.append(share_beyond(seen, unseen, counts, repeats=100, seed=1_000 + seed))
    for share, n in zip(torch.stack(shares).mean(dim=0).tolist(), counts, strict=True):
        assert share == pytest.approx(1 / (n + 1), rel=0.08)


def test_equal_values_do_not_exceed():
    assert share_beyond(torch.ones(5), torch.ones(3), [1, 5], repeats=4).tolist() == [0, 0]


@pytest.mark.parametrize("counts", [[], [0], [6]])
def test_counts_that_were_not_seen_are_refused(counts):
    with pytest.raises(InvalidInputError, match=r"1\.\.5"):
        share_beyond(torch.ones(5), torch.ones(3), counts, repeats=4)
