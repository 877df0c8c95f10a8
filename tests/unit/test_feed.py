"""Batches of a training: each epoch alike or shuffled, one in memory, bad ones refused."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from qutils.errors import InvalidInputError
from qutils.feed import AsTheyAre, Samples, Shuffled
from qutils.quantize.training import Plan, checked_classes, fit

X, Y = torch.arange(10.0)[:, None], torch.arange(10)


def seen(feed, first, steps):
    return [y.tolist() for _, y in feed.batches(first, steps)]


def test_shuffled_epochs_differ_and_a_step_is_the_same_wherever_one_begins():
    feed = Shuffled(Samples(X, Y), batch_size=3, seed=1)
    every = seen(feed, 0, 6)
    assert feed.per_epoch == 3
    assert len({y for batch in every[:3] for y in batch}) == 9
    assert every[:3] != every[3:]
    assert seen(feed, 4, 6) == every[4:]


@pytest.mark.parametrize("kind", ["list", "loader", "generator", "endless"])
def test_batches_come_as_they_are_again_each_epoch(kind):
    batches = [(X[i : i + 4], Y[i : i + 4]) for i in (0, 4, 8)]  # the last one is smaller

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(X, Y, strict=True))

    given = {
        "list": batches,
        "loader": DataLoader(TensorDataset(X, Y), batch_size=4),
        "generator": (batch for batch in batches),
        "endless": DataLoader(Stream(), batch_size=4),  # has no length
    }[kind]
    feed = AsTheyAre(given)
    wanted = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert feed.per_epoch == 3
    assert seen(feed, 0, 7) == wanted * 2 + wanted[:1]
    assert seen(feed, 4, 6) == wanted[1:]


def test_a_loader_is_not_collected_in_memory():
    made = []

    class Pictures(TensorDataset):
        def __getitem__(self, index):
            made.append(index)
            return super().__getitem__(index)

    batches = AsTheyAre(DataLoader(Pictures(X, Y), batch_size=2)).batches(0, 5)
    next(batches)
    assert made == [0, 1]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([], "training set is empty"),
        (torch.zeros(2, 1, 8, 8), r"is a Tensor: give a zoo\.Split"),
        ({"x": 1}, "is a dict"),
        (TensorDataset(X, Y), "is a TensorDataset"),
        ([torch.zeros(2, 1, 8, 8)], "batch 0 is not a pair"),
        ([("a", "b")], "not a pair .* of tensors"),
        ([(torch.zeros(2, 1, 8, 8), [0, 1])], "not a pair .*'list'"),
        ([(X, Y), (torch.zeros(2, 1, 8, 8), torch.zeros(3))], "batch 1 .* one label for each"),
    ],
    ids=["empty", "tensor", "dict", "samples", "no labels", "words", "list", "too many labels"],
)
def test_bad_batches_are_refused(bad, words):
    with pytest.raises(InvalidInputError, match=words):
        list(AsTheyAre(bad).batches(0, 2))


def test_what_can_be_run_through_but_once_says_so():
    class Once:
        def __init__(self):
            self.rest = iter([(X, Y), (X, Y)])

        def __len__(self):
            return 2

        def __iter__(self):
            return self.rest

    with pytest.raises(InvalidInputError, match="gave 0 batches where its length says 2"):
        list(AsTheyAre(Once()).batches(0, 4))


def test_fewer_pictures_than_a_batch_are_refused():
    with pytest.raises(InvalidInputError, match="10 pictures do not fill one batch of 11"):
        Shuffled(Samples(X, Y), batch_size=11)


LOGITS = torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            torch.tensor([0, 1, 2, 3]),
            r"from 0 to 3, but .* 3 classes apart \(0\.\.2\)",
        ),
        (torch.tensor([0, 1, -1, 2]), "from -1 to 2"),
        (torch.tensor([0.0, 1.0, 2.0, 0.0]), r"float32 are no class numbers \[4\]"),
        (torch.eye(4, 3).long(), r"labels\.argmax\(1\) makes them of one-hot rows"),
        (torch.zeros(4, 1, dtype=torch.long), r"shape \[4, 1\] .* are no class numbers"),
    ],
    ids=["too large", "negative", "floats", "one-hot", "column"],
)
def test_labels_that_are_no_classes_name_the_mend(labels, words):
    with pytest.raises(InvalidInputError, match=words):
        checked_classes(labels, LOGITS)


def test_narrow_integers_are_classes():
    assert (
        checked_classes(torch.tensor([0, 1, 2, 0], dtype=torch.int32), LOGITS).dtype == torch.long
    )
    pixels = checked_classes(torch.zeros(2, 5, 5, dtype=torch.uint8), torch.zeros(2, 3, 5, 5))
    assert pixels.shape == (2, 5, 5)


def test_an_epoch_of_a_plan_is_one_run_through_the_batches():
    model = nn.Linear(1, 10)
    plan = Plan(epochs=2, learning_rate=1e-3, batch_size=999)  # the size is of pictures alone
    batches = [(X[i : i + 4], Y[i : i + 4]) for i in (0, 4, 8)]
    curve = fit(model, batches, plan, torch.optim.SGD(model.parameters(), 0.1), progress=False)
    assert curve[-1].step == 6
    assert curve[-1].epoch == 2
