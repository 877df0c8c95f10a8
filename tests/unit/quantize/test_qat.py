"""QAT on a small network: learns, repeats, resumes, ships; bad data is refused."""

import importlib
import os
import signal

import pytest
import torch
from torch import nn

from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.errors import InvalidInputError
from qutils.feed import Samples
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate
from qutils.quantize.qat import default_rate, finetune
from qutils.quantize.qat.finetune import groups


class Net(nn.Module):
    def __init__(self, activation: type[nn.Module] = nn.ReLU6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.act = activation()
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.act2 = activation()
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.act2(self.depthwise(self.act(self.conv(x)))).mean((2, 3)))


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (192,), generator=generator)
    x = torch.randn(192, 1, 8, 8, generator=generator) * 2 + (y * 3.0)[:, None, None, None]
    return [(x[i : i + 32], y[i : i + 32]) for i in range(0, 192, 32)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Net().eval()


def four_bits():
    return Recipe(Scheme(4, granularity="per_channel"), Scheme(4))


def tune(model, data, recipe=None, **options):
    settings = {"epochs": 2, "progress": False, **options}
    return finetune(calibrate(model, data, recipe or four_bits()), data, **settings)


def loss(module, data):
    with torch.no_grad():
        return sum(float(nn.functional.cross_entropy(module(x), y)) for x, y in data)


def test_it_learns_and_leaves_the_start_alone(model, data):
    start = calibrate(model, data, four_bits())
    before = {name: value.clone() for name, value in start.state_dict().items()}
    tuned = finetune(start, data, epochs=30, learning_rate=1e-2, progress=False)
    assert loss(tuned, data) < 0.8 * loss(start, data)
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
    assert tuned.curve
    assert not tuned.training


def test_weights_scales_and_zero_points_move_but_the_input_range_stays(model, data):
    start = calibrate(model, data, four_bits())
    tuned = tune(model, data, learning_rate=5e-3)
    for name, quantizer in tuned.quantizers.items():
        moved = not torch.equal(quantizer.scale, start.quantizers[name].scale)
        assert moved == (quantizer.site.role != "boundary"), name


def test_the_same_seed_gives_the_same_weights_another_seed_others(model, data):
    start = calibrate(model, data, four_bits())
    samples = Samples(torch.cat([x for x, _ in data]), torch.cat([y for _, y in data]))
    options = {"epochs": 2, "batch_size": 32, "progress": False}
    first, again, other = (finetune(start, samples, seed=seed, **options) for seed in (1, 1, 2))
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(
        first.graph_module.get_parameter("conv.weight"),
        other.graph_module.get_parameter("conv.weight"),
    )


def test_a_teacher_changes_what_is_learned(model, data):
    alone, taught = tune(model, data), tune(model, data, teacher=model)
    name = "conv.weight"
    assert not torch.equal(
        alone.graph_module.get_parameter(name), taught.graph_module.get_parameter(name)
    )


def test_int8_after_qat_stays_integer_and_predicts_what_was_simulated(model, data, tmp_path):
    """Training pushes ranges past 6; they must not, or ReLU6 keeps convolutions in float."""
    start = calibrate(model, data, Recipe(Scheme(granularity="per_channel")))
    with torch.no_grad():
        for quantizer in start.quantizers.values():
            if quantizer.site.ceiling == 6:
                quantizer.scale.mul_(1.5)
    tuned = finetune(start, data, epochs=2, learning_rate=1e-4, progress=False)
    ceilings = [q for q in tuned.quantizers.values() if q.site.ceiling == 6]
    assert len(ceilings) == 2
    for quantizer in ceilings:
        q = quantizer.qparams()
        assert float(q.scale * (q.qmax - q.zero_point)) <= 6 * (1 + 1e-6)
    file = runtimes.load(export(tuned, tmp_path / "tuned.onnx"))
    assert not {"Conv", "FusedConv", "Gemm", "MatMul", "Clip"} & set(file.kernels())
    for x, _ in data:
        with torch.no_grad():
            simulated = tuned(x).argmax(1)
        assert (simulated.numpy() == file.run(x.numpy()).argmax(1)).mean() >= 0.99


def test_the_teacher_keeps_its_mode_and_place(model, data):
    teacher = Net().train()
    tune(model, data, epochs=1, teacher=teacher)
    assert teacher.training


@pytest.mark.parametrize("other", ["recipe", "teacher", "start"])
def test_the_interrupted_run_of_another_start_is_not_continued(model, data, tmp_path, other):
    def press(step, _):
        if step.done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    file, steps = tmp_path / "qat.run", []
    with pytest.raises(KeyboardInterrupt):
        tune(model, data, resume=file, on_step=press)
    recipe = recipe_of(4, 5 if other == "recipe" else 4)
    options = {"teacher": model} if other == "teacher" else {}
    torch.manual_seed(9)
    start = Net().eval() if other == "start" else model
    options |= {"learning_rate": default_rate(four_bits())}
    tune(start, data, recipe, resume=file, on_step=lambda s, _: steps.append(s.done), **options)
    assert steps[0] == 1


def test_groups_train_every_weight_once(model, data):
    sim = calibrate(model, data, four_bits())
    trained = [id(p) for group in groups(sim, 1e-3) for p in group["params"]]
    assert len(trained) == len(set(trained))
    assert id(sim.graph_module.get_parameter("conv.weight")) in trained


def test_a_loss_of_ones_own_takes_other_labels(model, data):
    targets = [(x, nn.functional.one_hot(y, 3).float()) for x, y in data]
    start = calibrate(model, data, four_bits())

    def error(sim):
        with torch.no_grad():
            return sum(float((sim(x) - y).square().mean()) for x, y in targets)

    tuned = finetune(
        start, targets, epochs=20, learning_rate=1e-2, loss=nn.functional.mse_loss, progress=False
    )
    assert error(tuned) < 0.8 * error(start)
    assert all(point.accuracy != point.accuracy for point in tuned.curve)  # NaN: no classes
    taught = finetune(
        start, targets, epochs=1, loss=nn.functional.mse_loss, teacher=model, progress=False
    )
    assert taught.curve[-1].loss > 0


def test_what_training_cannot_take_is_refused(model, data):
    with pytest.raises(InvalidInputError, match="batches .* are taken as they are"):
        tune(model, data, batch_size=16)
    with pytest.raises(InvalidInputError, match=r"got Net: make one with q\.calibrate"):
        finetune(model, data)
    with pytest.raises(InvalidInputError, match=r"labels reach from 0 to 3, .* 3 classes"):
        finetune(calibrate(model, data), [(x, y.clamp(max=0) + 3 * (y > 1)) for x, y in data])


def test_an_interrupted_run_continues_to_the_same_weights(model, data, tmp_path, monkeypatch):
    whole = tune(model, data)
    steps = {"left": 10}
    original = torch.optim.Adam.step

    def step(self, *args, **kwargs):
        steps["left"] -= 1
        if steps["left"] == 0:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    file = tmp_path / "qat.run"
    import qutils.quantize.training as training

    seen = []
    saved = training.fit

    def saving(*args, **kwargs):
        seen.append(kwargs.get("resume"))
        return saved(*args, **{**kwargs, "save_every": 1})

    module = importlib.import_module("qutils.quantize.qat.finetune")  # the name is the function's
    monkeypatch.setattr(module, "fit", saving)
    monkeypatch.setattr(torch.optim.Adam, "step", step)
    with pytest.raises(KeyboardInterrupt):
        tune(model, data, resume=file)
    assert file.is_file()
    monkeypatch.setattr(torch.optim.Adam, "step", original)
    continued = tune(model, data, resume=file)
    assert seen == [file, file]
    assert not file.exists()
    for a, b in zip(whole.parameters(), continued.parameters(), strict=True):
        assert torch.equal(a, b)


def recipe_of(weights, activations):
    return Recipe(Scheme(weights, granularity="per_channel"), Scheme(activations))


@pytest.mark.parametrize(
    ("bits", "rate"),
    [((2, 8), 1e-3), ((4, 4), 1e-3), ((8, 4), 1e-3), ((5, 8), 5e-4), ((8, 8), 6.25e-5)],
    ids=lambda value: str(value),
)
def test_the_coarser_quantizer_sets_the_learning_rate(bits, rate):
    assert default_rate(recipe_of(*bits)) == pytest.approx(rate)


def test_a_step_of_the_default_rate_crosses_the_same_share_of_a_grid_spacing(model, data):
    """Adam's first step moves every weight by the rate: in spacings it is equal at 4 to 8 bits."""
    shares = []
    for bits in (4, 6, 8):
        recipe = recipe_of(bits, bits)
        start = calibrate(model, data, recipe)
        rate = default_rate(recipe)
        spacing = start.quantizers["conv.weight"].scale.mean().item()
        shares.append(rate / spacing)
    assert max(shares) < 1.35 * min(shares)  # (2^b - 2) spacings, not 2^b


def test_without_a_learning_rate_the_default_is_taken(model, data):
    eight = recipe_of(8, 8)
    plain, named, other = (
        tune(model, data, eight, **options)
        for options in ({}, {"learning_rate": default_rate(eight)}, {"learning_rate": 1e-3})
    )
    name = "conv.weight"
    weight = [t.graph_module.get_parameter(name) for t in (plain, named, other)]
    assert torch.equal(weight[0], weight[1])
    assert not torch.equal(weight[0], weight[2])
