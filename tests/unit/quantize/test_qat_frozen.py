"""What its owner froze stays to the bit in QAT; what cannot be kept apart is decided and said."""

from __future__ import annotations

import signal
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from qutils.errors import InvalidInputError
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize import checkpoint
from qutils.quantize.calibration import calibrate
from qutils.quantize.ptq import bias_correction
from qutils.quantize.qat import finetune
from qutils.quantize.qat.finetune import groups
from qutils.quantize.qat.frozen import frozen_parts

FOUR = Recipe(Scheme(4, granularity="per_channel"), Scheme(4))


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (64,), generator=generator)
    x = torch.randn(64, 3, 8, 8, generator=generator) + y[:, None, None, None]
    return [(x[i : i + 16], y[i : i + 16]) for i in range(0, 64, 16)]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    ).eval()


def frozen_backbone() -> nn.Sequential:
    model = net()
    model[:4].requires_grad_(False)
    return model


def train(sim, data, **options):
    return finetune(sim, data, epochs=2, learning_rate=5e-3, progress=False, **options)


def moved(before, after) -> set[str]:
    """Names of parameters, quantizers included, that differ."""
    new = after.graph_module.state_dict()
    return {n for n, v in before.graph_module.state_dict().items() if not torch.equal(v, new[n])}


def ranges(sim, moved) -> set[str]:
    """Sites of the quantizers among what moved."""
    return {name for name, q in sim.quantizers.items() if f"quantizer_{q.site.node}.scale" in moved}


def test_frozen_layers_keep_weights_biases_and_scales(data):
    start = calibrate(frozen_backbone(), data, FOUR)
    changed = moved(start, train(start, data))
    assert {name for name in changed if "quantizer" not in name} == {"7.weight", "7.bias"}
    assert ranges(start, changed) == {"7.weight"}  # what only frozen layers compute stays as well


def test_what_a_frozen_backbone_computes_stays_to_the_bit(data):
    start = calibrate(frozen_backbone(), data, FOUR)
    tuned, seen = train(start, data), []
    for sim in (start, tuned):
        last = sim.quantizers["5"]  # the pooling before the head
        hook = last.register_forward_hook(lambda module, args, output: seen.append(output))
        sim(data[0][0])
        hook.remove()
    assert torch.equal(*seen)


def test_a_frozen_head_keeps_its_output_scale_while_the_rest_learns(data):
    model = net()
    model[7].requires_grad_(False)
    start = calibrate(model, data, FOUR, target="litert")
    changed = moved(start, train(start, data))
    assert {name for name in changed if "quantizer" not in name} == {
        *("0.weight", "0.bias", "3.weight", "3.bias")
    }
    assert "3" in ranges(start, changed)
    assert not {"7", "7.weight"} & ranges(start, changed)


def test_frozen_stays_frozen_in_copies_checkpoints_and_the_next_training(data, tmp_path):
    start = calibrate(frozen_backbone(), data, FOUR)
    path = checkpoint.save(start, tmp_path / "a.safetensors")
    loaded = checkpoint.load(path, net())  # of the architecture alone: nothing frozen here
    once = train(start, data)
    for sim in (start.copy(), loaded, once, once.copy()):
        assert moved(sim, train(sim, data)).isdisjoint({"0.weight", "0.bias", "3.weight", "3.bias"})


def test_a_file_that_does_not_say_takes_what_the_model_freezes(data, tmp_path, monkeypatch):
    start = calibrate(net(), data, FOUR)
    dumps = checkpoint.json.dumps
    monkeypatch.setattr(
        checkpoint.json,
        "dumps",
        lambda made, **options: dumps({k: v for k, v in made.items() if k != "frozen"}, **options),
    )
    path = checkpoint.save(start, tmp_path / "a.safetensors")
    assert checkpoint.load(path, frozen_backbone()).captured.frozen == (
        *("0.weight", "0.bias", "3.weight", "3.bias"),
    )


def test_a_correction_of_biases_keeps_what_is_frozen(data):
    model = frozen_backbone()
    model[3] = nn.Conv2d(8, 8, 3, bias=False).requires_grad_(False)
    corrected = bias_correction(calibrate(model, data, FOUR), data)
    assert "3.bias" in corrected.captured.frozen  # the correction's own
    assert "3.bias" not in moved(corrected, train(corrected, data))


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_no_optimizer_over_the_groups_or_the_model_moves_or_decays_them(data, kind, decay):
    start = calibrate(frozen_backbone(), data, FOUR)
    for parameters in (lambda sim: groups(sim, 1e-2), lambda sim: sim.parameters()):
        sim = start.copy()
        optimizer = kind(parameters(sim), lr=1e-2, weight_decay=decay)
        for x, y in data:
            optimizer.zero_grad()
            nn.functional.cross_entropy(sim(x), y).backward()
            optimizer.step()
        changed = moved(start, sim)
        assert {"7.weight", "7.bias"} <= changed
        assert changed.isdisjoint({"0.weight", "0.bias", "3.weight", "3.bias"})


def test_all_frozen_is_refused_with_advice_that_works(data):
    start = calibrate(net().requires_grad_(False), data, FOUR)
    message = r"all 6 weights and biases are frozen .*Give frozen=\(\) .* model\.requires_grad_"
    with pytest.raises(InvalidInputError, match=message):
        train(start, data)
    assert "0.weight" in moved(start, train(start, data, frozen=()))
    model = net().requires_grad_(False)
    model[7].requires_grad_(True)
    start = calibrate(model, data, FOUR)
    assert "7.weight" in moved(start, train(start, data))


def test_names_given_replace_what_was_frozen(data):
    start = calibrate(frozen_backbone(), data, FOUR)
    tuned = train(start, data, frozen=["3", "7.bias"])
    changed = moved(start, tuned)
    assert {"0.weight", "0.bias", "7.weight"} <= changed
    assert changed.isdisjoint({"3.weight", "3.bias", "7.bias"})
    assert tuned.captured.frozen == ("3.weight", "3.bias", "7.bias")
    with pytest.raises(InvalidInputError, match=r"unknown parameter or module '7\.biases'"):
        train(start, data, frozen=["7.biases"])
    with pytest.raises(InvalidInputError, match=r"got '7'\. Give \['7'\]"):
        train(start, data, frozen="7")


def test_what_is_frozen_in_the_simulated_model_stays_as_well(data):
    start = calibrate(net(), data, FOUR)
    start.graph_module.get_submodule("0").requires_grad_(False)
    tuned = train(start, data)
    changed = moved(start, tuned)
    assert "3.weight" in changed
    assert not {"0.weight", "0.bias"} & changed
    assert not {"0", "0.weight"} & ranges(start, changed)
    assert moved(tuned, train(tuned, data)).isdisjoint({"0.weight", "0.bias"})


def test_a_teacher_may_be_wrapped_or_weight_normalized(data):
    teacher = net()
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(teacher[3])
    teacher(data[0][0])
    start = calibrate(teacher, data, FOUR)
    tuned = [train(start, data, teacher=one) for one in (teacher, nn.DataParallel(teacher))]
    assert moved(*tuned) == set()


@pytest.mark.parametrize(
    ("conv", "norm", "weight", "bias"),
    [
        (True, True, True, True),
        (False, True, False, True),  # the BatchNorm's offset learns, its factor cannot
        (True, False, True, False),  # the factor stays, the weight it scales learns
        (False, False, False, False),
    ],
)
def test_a_batch_norm_and_its_layer_frozen_or_not(data, conv, norm, weight, bias):
    model = net()
    model[0] = nn.Conv2d(3, 8, 3, bias=False).requires_grad_(conv)
    model[1].requires_grad_(norm)
    start = calibrate(model, data, FOUR)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        changed = moved(start, train(start, data))
    assert ("0.weight" in changed, "0.bias" in changed) == (weight, bias)
    assert ("0.weight" in ranges(start, changed)) == weight
    told = [str(one.message) for one in said if "frozen" in str(one.message)]
    expected = "0.weight is frozen and stays as it is. 1.weight would train, but cannot: it is "
    assert told == ([f"{expected}folded into 0.weight."] if norm and not conv else [])


def test_a_batch_norm_of_rows_folded_into_a_frozen_linear_layer(data):
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192), nn.Linear(192, 8), nn.Linear(8, 3))
    model.eval()[2].requires_grad_(False)
    start = calibrate(model, data, FOUR)
    with pytest.warns(UserWarning, match=r"2\.\w+ is frozen .* 1\.\w+ would train") as said:
        changed = moved(start, train(start, data))
    assert len(said) == 2  # weight and bias
    assert {name for name in changed if "quantizer" not in name} == {"3.weight", "3.bias"}


def test_a_weight_that_is_frozen_in_part_stays_and_says_so(data):
    model = net()
    parametrizations.weight_norm(model[3])
    model[3].parametrizations.weight.original0.requires_grad_(False)  # the length of the filters
    start = calibrate(model, data, FOUR)
    with pytest.warns(UserWarning, match=r"3\.weight is frozen .*original1 would train"):
        assert "3.weight" not in moved(start, train(start, data))


def test_what_a_trainable_layer_and_a_frozen_one_add_up_to_learns_its_range():
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1).requires_grad_(False)

        def forward(self, x):
            return torch.relu(self.a(x) + self.b(x)).mean((2, 3))

    sim = calibrate(Sum().eval(), torch.randn(4, 3, 8, 8), FOUR)
    assert frozen_parts(sim).parameters == {"b.weight", "b.bias"}
    assert {"b", "b.weight"} <= frozen_parts(sim).sites
    assert not {"a", "a.weight", "add", "input"} & frozen_parts(sim).sites


def test_an_interrupted_run_with_other_frozen_parts_is_not_continued(data, tmp_path):
    start = calibrate(net(), data, FOUR)

    file, steps = tmp_path / "run", []

    def ctrl_c(step, model):
        if step.done == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(start, data, resume=file, on_step=ctrl_c)
    assert file.is_file()
    train(start, data, resume=file, frozen=["0"], on_step=lambda s, _: steps.append(s.done))
    assert steps[0] == 1
