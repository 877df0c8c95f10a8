"""Networks that quantization-aware training made, shipped with scales and zero points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qutils.errors import InvalidInputError
from qutils.files import data_dir, intact
from qutils.numerics.schemes import Granularity, Recipe, Scheme
from qutils.quantize import checkpoint
from qutils.quantize.simulate import SimulatedModel
from qutils.zoo.models import MODELS, entry, load


@dataclass(frozen=True)
class QatCheckpoint:
    """How one shipped network was trained, and where it is.

    ``seed`` drew its calibration pictures and ordered its training; ``qutils train MODEL --qat``
    repeats it.
    """

    model: str
    weight_bits: int
    activation_bits: int
    observer: str = "mse"
    granularity: Granularity = "per_channel"
    epochs: float = 0.75
    seed: int = 0
    calibration_pictures: int = 512

    @property
    def name(self) -> str:
        """Model and bits as the file is called.

        >>> QatCheckpoint("resnet8", 4, 8).name
        'resnet8-w4a8'
        """
        return f"{self.model}-{self.recipe.label.lower()}"

    @property
    def recipe(self) -> Recipe:
        """Schemes of weights and activations."""
        weights = Scheme(self.weight_bits, granularity=self.granularity, observer=self.observer)
        return Recipe(weights, Scheme(self.activation_bits, observer=self.observer))

    @property
    def path(self) -> Path:
        """``data/checkpoints/<name>.safetensors``; ``SHA256SUMS`` beside it has its checksum."""
        return data_dir() / "checkpoints" / f"{self.name}.safetensors"


QAT_CHECKPOINTS: dict[str, QatCheckpoint] = {
    made.name: made
    for made in (QatCheckpoint(m, *bits) for m, e in MODELS.items() for bits in e.qat_bits)
}


def load_quantized(model: str, weight_bits: int, activation_bits: int) -> SimulatedModel:
    """A shipped network after QAT, in eval mode: simulate it, train it on, export it.

    Raises:
        InvalidInputError: unknown model, or bits that are not shipped (those that are, are listed).
        DataError: the checkpoint is missing, corrupt, truncated or belongs to another network.
    """
    entry(model)
    shipped = [made for made in QAT_CHECKPOINTS.values() if made.model == model]
    for made in shipped:
        if (made.weight_bits, made.activation_bits) == (weight_bits, activation_bits):
            return checkpoint.load(intact(made.path), load(model, pretrained=False))
    labels = ", ".join(made.recipe.label for made in shipped)
    raise InvalidInputError(
        f"{model} ships after QAT as {labels}, not W{weight_bits}A{activation_bits}. Train it with "
        f"qutils.qat.finetune, or with: qutils train {model} --qat W{weight_bits}A{activation_bits}"
    )
