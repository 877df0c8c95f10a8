import math

import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import flips


def test_flips_by_their_definition():
    before, after = torch.randn(200, 5), torch.randn(200, 5)
    labels = torch.randint(0, 5, (200,))
    found = flips(before, after, labels)
    changed = {i for i in range(200) if before[i].argmax() != after[i].argmax()}
    assert {flip.index for flip in found} == changed
    for flip in found:
        old, new = before[flip.index], after[flip.index]
        assert flip.before == old.argmax()
        assert flip.after == new.argmax()
        assert flip.label == labels[flip.index]
        assert flip.confidence == pytest.approx(old.softmax(0).max().item(), rel=1e-5)
        assert flip.margin_before == (old[flip.before] - old[flip.after]).item() > 0
        assert flip.margin_after == (new[flip.before] - new[flip.after]).item() < 0
    confidences = [flip.confidence for flip in found]
    assert confidences == sorted(confidences, reverse=True)


def test_equal_confidence_goes_by_index():
    before = torch.tensor([[1.0, 0.0]]).repeat(5, 1)
    assert [flip.index for flip in flips(before, -before)] == [0, 1, 2, 3, 4]


def test_no_flips():
    logits = torch.randn(9, 4)
    assert flips(logits, 2 * logits) == ()
    assert flips(logits[:0], logits[:0]) == ()


@pytest.mark.parametrize(
    ("label", "verdict"), [(0, "lost"), (1, "gained"), (2, "neither"), (None, "unknown")]
)
def test_verdicts(label, verdict):
    before, after = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[1.0, 2.0, 0.0]])
    labels = None if label is None else torch.tensor([label])
    assert flips(before, after, labels)[0].verdict == verdict


@pytest.mark.parametrize(
    "arguments",
    [
        (torch.zeros(2, 3), torch.zeros(2, 4)),
        (torch.zeros(3), torch.zeros(3)),
        (torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3)),
        (torch.zeros(2, 3), torch.full((2, 3), math.nan)),
    ],
)
def test_impossible_comparisons(arguments):
    with pytest.raises(InvalidInputError):
        flips(*arguments)
