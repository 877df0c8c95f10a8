"""Folders of photographs, read in batches: memory is one batch, whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from qutils.errors import DataError, InvalidInputError
from qutils.images import UnreadableImageError, check_depth, open_image
from qutils.zoo.class_order import ClassFolders, ClassOrder
from qutils.zoo.preprocessing import Preprocessing

#: Photographs in one batch: 6 MB of input at 224x224, and some 25 MB of activations a photograph.
BATCH = 10
#: Files that a message names before it only counts.
NAMED = 3
#: Left, upper, right and lower edge as shares of width and height.
Region = tuple[float, float, float, float]
_WHOLE: Region = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Photograph:
    """A file, or a region of it; decoded each time it is needed."""

    path: Path
    region: Region = _WHOLE

    def pixels(self, preprocessing: Preprocessing) -> Tensor:
        """What the network sees, not yet normalized: uint8 ``[C, H, W]``.

        Orientation marks of cameras are not applied: what networks are trained on ignores them.

        Raises:
            DataError: no picture, or a truncated one; names the file.
        """
        with open_image(self.path) as image:
            return preprocessing.crop(self._cut(image))

    def _cut(self, image: Image.Image) -> Image.Image:
        if self.region == _WHOLE:
            return image
        left, right = (round(x * image.width) for x in self.region[::2])
        upper, lower = (round(y * image.height) for y in self.region[1::2])
        return image.crop((left, upper, right, lower))

    def size(self) -> tuple[int, int]:
        """Width and height of the file, from its head alone.

        Raises:
            DataError: no picture, or one of more than 8 bits a channel.
        """
        with open_image(self.path) as image:
            check_depth(image)
            return image.size


def refuse_damaged(members: Sequence[Photograph], read: Callable[[Photograph], object]) -> None:
    """Read every one; raise one DataError that counts those that fail, and names the first."""
    amiss = []
    for one in members:
        try:
            read(one)
        except UnreadableImageError as error:
            amiss.append(f"{error.path}: {error.reason}")
    if amiss:
        listed = "; ".join(amiss[:NAMED]) + ("; ..." if len(amiss) > NAMED else "")
        raise DataError(
            f"{len(amiss):,} of {len(members):,} pictures cannot be read ({listed}): "
            "remove or replace them"
        )


class Pixels:
    """Decoded photographs by index, as training reads them."""

    def __init__(self, photographs: Photographs) -> None:
        self._photographs = photographs

    def __len__(self) -> int:
        return len(self._photographs)

    def __getitem__(self, index: Tensor) -> Tensor:
        """Those at ``index [B]``: uint8 ``[B, C, H, W]``."""
        return self._photographs.pick(index).pixels()


@dataclass(frozen=True)
class Photographs:
    """Photographs of a folder; iterating decodes, and yields ``(x [B, C, H, W], y [B] or None)``.

    Calibrate with it as with any list of batches: ``q.observe(model, photographs)``.

    Attributes:
        labels: class numbers, int64 ``[N]``; None where the folder says nothing of classes.
        order: which number is which folder; ``matched`` compares it with a network's outputs.
        small: those whose short side is below the network's input; they are enlarged.
        others: files left out, as their endings are not those of pictures.
    """

    members: tuple[Photograph, ...]
    preprocessing: Preprocessing
    labels: Tensor | None = None
    batch_size: int = BATCH
    small: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()
    order: ClassOrder | None = None
    folders: ClassFolders | None = None

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for start in range(0, len(self), self.batch_size):
            cut = slice(start, start + self.batch_size)
            try:
                x = self[cut]
            except DataError:
                refuse_damaged(self.members, lambda one: one.pixels(self.preprocessing))
                raise
            yield x, None if self.labels is None else self.labels[cut]

    def __getitem__(self, cut: slice) -> Tensor:
        """Network inputs of a few: ``photographs[:2]`` is float32 ``[2, C, H, W]``."""
        index = torch.arange(len(self))[cut]
        return self.prepare(self.pick(index).pixels())

    @property
    def images(self) -> Pixels:
        """Decoded when indexed, so that ``qutils.quantize.qat.finetune`` can train on them."""
        return Pixels(self)

    def prepare(self, images: Tensor) -> Tensor:
        """Pixels to network input; see ``Preprocessing.prepare``."""
        return self.preprocessing.prepare(images)

    def pixels(self) -> Tensor:
        """All of them decoded at once, in the order of ``members``: uint8 ``[N, C, H, W]``."""
        return torch.stack([one.pixels(self.preprocessing) for one in self.members])

    def pick(self, index: Tensor) -> Photographs:
        """Those at these places."""
        members = tuple(self.members[i] for i in index.tolist())
        return replace(
            self, members=members, labels=None if self.labels is None else self.labels[index]
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by number; none where there are no labels."""
        return () if self.order is None else self.order.names

    def matched(self, outputs: int, names: Sequence[str] | None = None) -> Photographs:
        """The same photographs with the labels of a network of so many outputs.

        Args:
            names: what the network calls its outputs, if it says.

        Raises:
            InvalidInputError: which folder is which output is not known; see
                ``ClassFolders.order``.
        """
        if self.folders is None or self.order is None:
            return self
        given = self.order.names if self.order.source == "as given" else None
        return self.labelled(self.folders.order(given, outputs, names))

    def labelled(self, order: ClassOrder | None) -> Photographs:
        """The same photographs, their folders numbered in this order, or without labels."""
        if order is None:
            return replace(self, labels=None, order=None)
        number = {name: index for index, name in enumerate(order.names)}
        labels = torch.tensor([number[one.path.parent.name] for one in self.members])
        return replace(self, labels=labels.long(), order=order)

    def take(self, count: int) -> Photographs:
        """So many, evenly spread over the folder: every class in turn where they are sorted.

        Raises:
            InvalidInputError: ``count`` is not in 1..len(self).
        """
        if not 1 <= count <= len(self):
            raise InvalidInputError(
                f"asked for {count} photographs; the folder holds 1..{len(self)}"
            )
        return self.pick(torch.arange(count) * len(self) // count)

    def batches(self, size: int) -> Photographs:
        """The same photographs, served ``size`` at a time."""
        if size < 1:
            raise InvalidInputError(f"batch size must be at least 1, got {size}")
        return replace(self, batch_size=size)
