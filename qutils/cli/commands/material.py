"""What ``--data`` names, as three disjoint uses: ranges, training, scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from qutils import zoo
from qutils.cli.commands.inputs import Inputs, read_inputs
from qutils.cli.commands.look import AS_USUAL, NATURAL, Look
from qutils.cli.commands.named import NamedPairs, NamedSamples
from qutils.errors import InvalidInputError
from qutils.feed import Pictures, Samples
from qutils.graph.axes import Dynamic
from qutils.zoo.natural import FILES, MOST

#: One input in this many is held back to score the model, and is used for nothing else.
HELD_BACK = 5
#: Of those, the pictures whose crops are held back to score.
_NATURAL_HELD = ("coffee.png", "retina.jpg", "gravel.png")


@dataclass(frozen=True)
class Material:
    """The data of one quantization; no input is both scored and used for anything else.

    ``name`` is what an ``.npz`` file calls its only array; empty where it has no name of its own.
    """

    source: str
    calibration: Tensor | zoo.Photographs | NamedSamples  # pictures are decoded batch by batch
    train: Pictures | NamedPairs | None  # None without labels
    test: Inputs
    unlabelled: str = ""  # why the labels of folders are not used
    name: str = ""

    def matched(
        self, outputs: int, names: Sequence[str] | None = None, *, given: bool = False
    ) -> Material:
        """The same data with labels of a network of so many outputs, if they can be told.

        Args:
            names: what the network calls its outputs. given: whether the user ordered the classes.

        Raises:
            InvalidInputError: the user's order does not fit.
        """
        test = self.test.x
        if not isinstance(test, zoo.Photographs) or test.order is None:
            return self
        try:
            test = test.matched(outputs, names)
        except InvalidInputError as error:
            if given:
                raise
            test = test.labelled(None)
            return replace(self, train=None, test=Inputs(test), unlabelled=str(error))
        train = cast(zoo.Photographs, self.train)  # labels are there
        assert test.order is not None
        return replace(
            self,
            source=f"{self.source}; classes {test.order.source}",
            train=cast(Pictures, train.matched(outputs, names)),
            test=Inputs(test, test.labels),
        )


def read_material(
    data: str, pictures: int, look: Look = AS_USUAL, dynamic: Dynamic | None = None
) -> Material:
    """Data of a zoo dataset's name, an ``.npz`` or ``.npy`` file, or a folder of such or pictures.

    A zoo dataset keeps its own splits. Of own data a fifth, drawn once and for all, is held back
    to score; the rest trains QAT, and the first ``pictures`` of it give the ranges.

    Raises:
        InvalidInputError: neither of these, no inputs, NaN or Inf, labels that do not match.
        DataError: a file is corrupt or truncated.
        MissingPackageError: natural pictures without scikit-image.
    """
    if data in zoo.DATASETS:
        return _of_zoo(zoo.dataset(data), pictures)
    if data == NATURAL:
        return _natural(pictures, look)
    inputs = read_inputs(Path(data), look, dynamic)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(inputs)))
    held = len(inputs) // HELD_BACK
    rest = inputs.take(order[held:])
    first = rest.take(torch.arange(min(pictures, len(rest))))
    kind, prepared = ("inputs", "")
    if isinstance(inputs.x, zoo.Photographs):
        assumed = f", {look.assumed}" if look.assumed else ""
        kind = "pictures"
        prepared = f"; {inputs.x.preprocessing}{assumed}{_amiss(inputs.x)}"
    if isinstance(inputs.x, NamedSamples):
        prepared = f"; {inputs.x}"
    return Material(
        source=f"{data} ({len(inputs):,} {kind}, {held:,} of them held back to score){prepared}",
        calibration=first.x,
        train=_training(rest),
        test=inputs.take(order[:held]),
        name=inputs.name,
    )


def _training(rest: Inputs) -> Pictures | NamedPairs | None:
    if rest.y is None:
        return None
    if isinstance(rest.x, NamedSamples):
        return NamedPairs(rest.x, rest.y)
    if isinstance(rest.x, zoo.Photographs):
        return cast(Pictures, rest.x)  # labels are there
    return Samples(rest.x, rest.y)


def _amiss(pictures: zoo.Photographs) -> str:
    """Pictures that were enlarged and files that are none, in words; empty if all is as it was."""
    words = ""
    if pictures.small:
        words += f"; {len(pictures.small):,} smaller ones enlarged, as {pictures.small[0].name}"
    if pictures.others:
        words += f"; {len(pictures.others):,} other files left out, as {pictures.others[0].name}"
    return words


def _natural(pictures: int, look: Look) -> Material:
    """Crops of some sample pictures give ranges, those of others are scored."""
    natural = zoo.natural_pictures(MOST, look.preprocessing)
    if natural.preprocessing.shape[0] != 3:
        raise InvalidInputError("natural pictures are in colour: give --data of grey pictures")
    held = torch.tensor([one.path.name in _NATURAL_HELD for one in natural.members])
    seen = natural.pick((~held).nonzero().flatten())
    scored = natural.pick(held.nonzero().flatten())
    return Material(
        source=f"{MOST} crops of {len(FILES)} sample pictures that come with scikit-image and "
        f"Matplotlib, those of {len(_NATURAL_HELD)} held back to score; {look.preprocessing}; "
        "give --data with photographs of your own for figures that mean more",
        calibration=seen.pick(torch.arange(min(pictures, len(seen)))),
        train=None,
        test=Inputs(scored),
    )


def _of_zoo(data: zoo.Dataset, pictures: int) -> Material:
    calibration = data.calibration.take(min(pictures, len(data.calibration)))
    return Material(
        source=f"{data.name} ({len(data.test):,} test pictures)",
        calibration=calibration.prepare(calibration.images),
        train=data.train,
        test=Inputs(data.test.prepare(data.test.images), data.test.labels),
    )
