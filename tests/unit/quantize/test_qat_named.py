"""QAT on dicts of inputs, and on several outputs with a loss of one's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from qutils.errors import InvalidInputError
from qutils.feed import count
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate
from qutils.quantize.qat import finetune

WORDS, LENGTH = 12, 5


class Reader(nn.Module):
    """Token ids and a mask in; class scores, or these and a length, out."""

    def __init__(self, several: bool = False) -> None:
        super().__init__()
        self.several = several
        self.words, self.mix = nn.Embedding(WORDS, 8), nn.Linear(8, 8)
        self.head, self.size = nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor | dict[str, Tensor]:
        y = (self.mix(self.words(ids)).relu() * mask.unsqueeze(-1)).sum(1)
        return {"scores": self.head(y), "size": self.size(y)} if self.several else self.head(y)


@pytest.fixture(scope="module")
def batches():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (128,), generator=generator)  # of whose words the text consists
    ids = 3 * torch.randint(0, WORDS // 3, (128, LENGTH), generator=generator) + y[:, None]
    lengths = torch.randint(1, LENGTH + 1, (128, 1), generator=generator)
    x = {"ids": ids, "mask": (torch.arange(LENGTH) < lengths).float()}
    return [({n: v[i : i + 32] for n, v in x.items()}, y[i : i + 32]) for i in range(0, 128, 32)]


def start(batches, several=False):
    torch.manual_seed(0)
    recipe = Recipe(Scheme(4, granularity="per_channel"), Scheme(4))
    return calibrate(Reader(several).eval(), [x for x, _ in batches], recipe)


def test_dicts_of_inputs_train(batches):
    sim = start(batches)
    tuned = finetune(sim, batches, epochs=8, learning_rate=0.01, progress=False)

    def loss(model):
        return sum(float(nn.functional.cross_entropy(model(x), y)) for x, y in batches)

    assert loss(tuned) < 0.8 * loss(sim)
    assert tuned.curve[-1].accuracy > 80  # chance: 33
    assert torch.equal(tuned.samples["ids"], sim.samples["ids"])


def test_several_outputs_train_on_a_loss_of_ones_own(batches):
    sim = start(batches, several=True)
    named = [(x, {"class": y, "size": x["mask"].sum(1, keepdim=True)}) for x, y in batches]

    def loss(outputs, labels):
        return nn.functional.cross_entropy(outputs["scores"], labels["class"]) + (
            nn.functional.mse_loss(outputs["size"], labels["size"])
        )

    tuned = finetune(sim, named, epochs=6, learning_rate=0.01, loss=loss, progress=False)
    before, after = (sum(float(loss(m(x), y)) for x, y in named) for m in (sim, tuned))
    assert after < 0.8 * before
    with pytest.raises(
        InvalidInputError,
        match="^Cross-entropy needs one output and one tensor of labels, got scores, size and "
        r"labels class, size. Give a loss: finetune\(sim, data, loss=lambda outputs, labels: "
        r"...\).$",
    ):
        finetune(sim, named, epochs=1, progress=False)


def test_a_teacher_of_named_inputs_is_followed(batches):
    sim = start(batches)
    teacher = Reader().eval()
    assert len(finetune(sim, batches, epochs=1, teacher=teacher, progress=False).curve) == 4
    with pytest.raises(InvalidInputError, match="teacher with one output, got scores, size. Wrap"):
        finetune(sim, batches, epochs=1, teacher=Reader(several=True), progress=False)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (({"ids": torch.zeros(4, 2)}, torch.zeros(3)), r"inputs ids \[4, 2\] and labels \[3\]"),
        (({"ids": [1, 2]}, torch.zeros(2)), "not a pair .* or of dicts of tensors by name"),
        (({}, torch.zeros(2)), "not a pair"),
    ],
    ids=["unequal", "list", "empty"],
)
def test_batches_that_are_no_pairs(batch, message, batches):
    with pytest.raises(InvalidInputError, match=message):
        finetune(start(batches), [batch], epochs=1, progress=False)


def test_entries_are_counted_along_the_first_axis():
    assert count(torch.zeros(3, 2)) == count({"a": torch.zeros(3), "b": torch.zeros(3)}) == 3
