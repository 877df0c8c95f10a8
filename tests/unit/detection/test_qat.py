"""Training without labels: the loss, the batches it follows, and that it helps."""

from __future__ import annotations

import pytest
import torch

from qutils.detection import finetune_detector
from qutils.detection.qat import FLOOR, Followed, following_loss
from qutils.errors import InvalidInputError
from qutils.numerics.schemes import Recipe, Scheme
from tests.unit.detection.tiny import observed, pictures, tiny_detector

FOUR_BITS = Recipe(weights=Scheme(bits=4, granularity="per_channel"))


def predictions(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    found = torch.rand(2, 7, 30, generator=generator)
    found[:, :4] = found[:, :4] * 30 + 2
    return found


# The loss -----------------------------------------------------------------------------------------


def test_the_loss_is_its_formula():
    found, wanted = predictions(0).double(), predictions(1).double()
    total = weights = 0.0
    for f, w in zip(found.transpose(1, 2).reshape(-1, 7), wanted.transpose(1, 2).reshape(-1, 7),
                    strict=True):  # fmt: skip
        weight = w[4:].max() + FLOOR
        box = (f[:4] - w[:4]).abs().mean() / ((w[2] + w[3]) / 2)
        cls = -(w[4:] * f[4:].log() + (1 - w[4:]) * (1 - f[4:]).log()).sum()
        total, weights = total + weight * (box + cls), weights + weight
    torch.testing.assert_close(following_loss(found, wanted), total / weights)


@pytest.mark.parametrize("row", range(7))
@pytest.mark.parametrize("by", [-0.05, 0.05], ids=["less", "more"])
def test_it_is_least_where_both_agree(row, by):
    wanted = predictions().clamp(min=0.1)
    wanted[:, 4:] = wanted[:, 4:].clamp(max=0.9)
    other = wanted.clone()
    other[:, row] += by
    assert following_loss(other, wanted) > following_loss(wanted, wanted)


def test_sure_predictions_that_agree_cost_nothing():
    wanted = predictions()
    wanted[:, 4:] = wanted[:, 4:].round()
    assert following_loss(wanted, wanted) < 1e-4


def test_places_that_see_nothing_count_little():
    wanted = predictions()
    wanted[:, 4:] = 0.001
    wanted[:, 4, 0] = 0.9
    changed = [wanted.clone(), wanted.clone()]
    for place, other in enumerate(changed):
        other[:, 0, place] += wanted[:, 2:4, place].mean(1)  # by its own size
    seen, unseen = (following_loss(other, wanted) - following_loss(wanted, wanted)
                    for other in changed)  # fmt: skip
    assert float(seen / unseen) == pytest.approx((0.9 + FLOOR) / (0.001 + FLOOR), rel=1e-2)


def test_probabilities_of_zero_and_one_and_boxes_of_no_size_stay_finite():
    found, wanted = predictions(0), predictions(1)
    found[:, 4:], wanted[:, 4:] = found[:, 4:].round(), wanted[:, 4:].round()
    wanted[:, 2:4, 0] = 0
    found = found.requires_grad_()
    loss = following_loss(found, wanted)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(found.grad).all()


# Batches and training -----------------------------------------------------------------------------


def test_batches_are_whole_and_come_with_the_float_networks_predictions():
    detector, x = tiny_detector(), pictures(7)
    batches = Followed(detector, x, batch=3)
    assert len(batches) == len(list(batches)) == 2  # the seventh is left out
    for i, (part, wanted) in enumerate(batches):
        assert torch.equal(part, x[3 * i : 3 * i + 3])
        assert not wanted.requires_grad
        assert torch.is_grad_enabled()  # for the student, while a batch is out
        torch.testing.assert_close(wanted, detector(part).detach())


def mean_loss(model, detector, x) -> float:
    with torch.no_grad():
        return float(following_loss(model(x), detector(x)))


def test_a_few_steps_follow_the_float_network_more_closely():
    sim, detector, x = observed().simulate(FOUR_BITS), tiny_detector(), pictures(64)
    before = {name: value.clone() for name, value in sim.state_dict().items()}
    trained = finetune_detector(sim, detector, x, epochs=3, progress=False)
    assert mean_loss(trained, detector, x) < mean_loss(sim, detector, x)
    assert all(torch.equal(value, before[name]) for name, value in sim.state_dict().items())
    assert any(not torch.equal(v, before[name]) for name, v in trained.state_dict().items())
    torch.testing.assert_close(detector(x), tiny_detector()(x))  # the float one is as it was


def test_fewer_pictures_than_a_batch_are_refused():
    sim = observed().simulate(FOUR_BITS)
    with pytest.raises(InvalidInputError):
        finetune_detector(sim, tiny_detector(), pictures(3), progress=False)
