"""Time of a QAT step beside that of an FP32 training step, in turns, in one fresh process."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from qutils.evaluate.bench.latency import Latency, Ratio, compare
from qutils.evaluate.bench.process import TRAINING_ENVIRONMENT, Json, call_fresh

if TYPE_CHECKING:  # torch and the zoo are imported where training runs: in the fresh process
    import torch
    from torch import Tensor, nn

    from qutils.numerics.schemes import Recipe
    from qutils.quantize.simulate import SimulatedModel

_CALIBRATION = 64  # pictures: the values of the ranges do not change what a step costs


@dataclass(frozen=True)
class StepTimes:
    """Time of one training step each; ``ratio`` is QAT over FP32, paired by round."""

    model: str
    bits: int  # of weights and activations in QAT
    fp32: Latency
    qat: Latency
    ratio: Ratio

    @property
    def label(self) -> str:
        """Bits of QAT as in the literature: ``W4A4``."""
        return f"W{self.bits}A{self.bits}"


def training_steps(
    model: str, *, bits: int = 4, batch: int = 128, repeats: int = 30, threads: int = 1
) -> StepTimes:
    """Time one step of FP32 training and one of QAT, alternating, of a model of the zoo.

    A step: forward, loss, backward, update, on a batch that is in memory. FP32 is trained as its
    zoo recipe does (BatchNorm in training mode, SGD with Nesterov momentum, channels_last), QAT as
    ``qat.finetune`` does (BatchNorm folded; Adam on weights, scales and zero points; weights and
    activations of ``bits`` bits).

    Raises:
        InvalidInputError: unknown model, bits outside 2..8.
        QutilsError: the fresh process failed; the message says why.
    """
    from qutils import zoo
    from qutils.numerics.schemes import Scheme

    zoo.entry(model)
    Scheme(bits)  # raises on bits outside 2..8
    found = call_fresh(
        "qutils.evaluate.bench.training:time_steps",
        *(model, bits, batch, repeats, threads),
        environment=TRAINING_ENVIRONMENT,
    ).result
    return StepTimes(
        model,
        bits,
        fp32=Latency(**found["fp32"]),
        qat=Latency(**found["qat"]),
        ratio=Ratio(**found["ratio"]),
    )


def time_steps(model: str, bits: int, batch: int, repeats: int, threads: int) -> dict[str, Json]:
    """What ``training_steps`` runs in its fresh process: latencies and their ratio as JSON."""
    import torch

    from qutils import zoo
    from qutils.numerics.schemes import Recipe, Scheme
    from qutils.quantize.qat.trainable import trainable

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    recipe = Recipe(Scheme(bits, granularity="per_channel"), Scheme(bits))
    split = zoo.dataset(zoo.entry(model).dataset).train.batches(batch)
    pictures, labels = next(iter(split))
    sim = calibrated(model, recipe)
    with trainable(sim):
        steps = {
            "fp32": float_step(model, labels, threads),
            "qat": qat_step(sim, labels, threads),
        }
        found = compare(steps, pictures.numpy(), baseline="fp32", repeats=repeats, warmup=2, warm=1)
    times: dict[str, Any] = {name: asdict(found.latencies[name]) for name in steps}
    return {**times, "ratio": asdict(found.ratios["qat"])}


class Step:
    """One training step, as something ``compare`` can time."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, labels: Tensor, threads: int
    ) -> None:
        self.model, self.optimizer, self.labels = model.train(), optimizer, labels
        self.threads = threads
        self.loss = float("nan")

    def run(self, batch: NDArray[Any]) -> None:
        """Forward, cross-entropy, backward, update on ``batch`` ``[B, C, H, W]``."""
        import torch
        from torch.nn.functional import cross_entropy

        self.optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(self.model(torch.from_numpy(batch)), self.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.loss = loss.item()


def float_step(model: str, labels: Tensor, threads: int = 1) -> Step:
    """A step of the recipe that trained the zoo's checkpoint, from that checkpoint."""
    import torch

    from qutils import zoo
    from qutils.zoo.recipes import parameter_groups

    module = zoo.load(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rate = zoo.MODELS[model].plan.learning_rate
    groups = parameter_groups(module)
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    return Step(module, optimizer, labels, threads)


def calibrated(model: str, recipe: Recipe) -> SimulatedModel:
    """A model of the zoo, calibrated on a few images."""
    from qutils import zoo
    from qutils.quantize.calibration import calibrate

    split = zoo.dataset(zoo.entry(model).dataset).calibration
    return calibrate(zoo.load(model), split.take(_CALIBRATION), recipe)


def qat_step(sim: SimulatedModel, labels: Tensor, threads: int = 1) -> Step:
    """A step of ``qat.finetune`` from a calibrated model, which is trained in place."""
    import torch

    from qutils.quantize.qat.finetune import default_rate, groups

    return Step(sim, torch.optim.Adam(groups(sim, default_rate(sim.recipe))), labels, threads)
