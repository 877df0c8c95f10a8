"""How a photograph becomes network input: short side, centre crop, mean and spread, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from qutils.errors import InvalidInputError
from qutils.images import check_depth

#: Means and standard deviations of red, green and blue over ImageNet, pixels scaled to [0, 1].
#: Source: the pretrained models of torchvision, which most published weights follow.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Pixels of the largest image that is resized as a whole: 48 MB as RGB. Of larger ones, as long and
#: narrow ones become, the centre alone is made; Pillow then rounds in another order.
MOST_RESIZED = 2**24


@dataclass(frozen=True)
class Preprocessing:
    """Resize the short side to ``resize``, cut ``size`` out of the centre, ``(x - mean) / std``.

    Attributes:
        size: height and width of the input [pixels].
        resize: short side before the crop [pixels]; None: ``size * 8/7``, 256 for 224.
        mean, std: of pixels scaled to [0, 1]; one number for each channel, red, green, blue, or
            one alone for grey pictures.

    Raises:
        InvalidInputError: a size below 1, a crop larger than the picture, neither 1 nor 3 channels,
            a mean or spread that is no number in range.

    >>> Preprocessing(224).short_side, Preprocessing(28, mean=(0.3,), std=(0.35,)).shape
    (256, (1, 28, 28))
    """

    size: int | tuple[int, int] = 224
    resize: int | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise InvalidInputError(f"pictures of {self.height}x{self.width} hold no pixels")
        if self.resize is not None and self.resize < max(self.height, self.width):
            raise InvalidInputError(
                f"a crop of {self.height}x{self.width} does not fit pictures whose short side is "
                f"{self.resize}: resize to {max(self.height, self.width)} at least"
            )
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise InvalidInputError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations: give three of "
                "each (red, green, blue), or one for grey pictures"
            )
        if not all(0.0 <= mean <= 1.0 for mean in self.mean) or not all(
            math.isfinite(std) and std > 0.0 for std in self.std
        ):
            raise InvalidInputError(
                f"mean {self.mean} and std {self.std} are not those of pixels scaled to [0, 1]: "
                "divide figures for 0..255 by 255"
            )

    @property
    def height(self) -> int:
        """Of the input [pixels]."""
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def width(self) -> int:
        """Of the input [pixels]."""
        return self.size if isinstance(self.size, int) else self.size[1]

    @property
    def short_side(self) -> int:
        """Of the picture before the crop [pixels]."""
        return self.resize or round(max(self.height, self.width) * 8 / 7)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one input, ``(C, H, W)``."""
        return len(self.mean), self.height, self.width

    def crop(self, image: Image.Image) -> Tensor:
        """The centre of a picture of any size and mode: uint8 ``[C, H, W]``.

        Bicubic, never stretched; transparent places show what lies below them.

        Raises:
            ValueError: values of more than 8 bits, which would all come out white.
        """
        check_depth(image)
        image = image.convert("RGB" if len(self.mean) == 3 else "L")
        scale = self.short_side / min(image.size)
        width, height = (max(self.short_side, round(side * scale)) for side in image.size)
        left, top = (width - self.width) // 2, (height - self.height) // 2
        region = left, top, left + self.width, top + self.height
        if width * height > MOST_RESIZED:
            image = self._resized_region(image, (width, height), region)
        else:
            if scale != 1.0:
                image = image.resize((width, height), Image.Resampling.BICUBIC)
            image = image.crop(region)
        pixels = torch.from_numpy(np.array(image))
        return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()

    def _resized_region(
        self, image: Image.Image, size: tuple[int, int], region: tuple[int, int, int, int]
    ) -> Image.Image:
        """Return ``region`` of the image resized to ``size``, without making the rest of it."""
        across, down = image.width / size[0], image.height / size[1]
        left, right = (min(x * across, image.width) for x in region[::2])
        top, bottom = (min(y * down, image.height) for y in region[1::2])
        return image.resize(
            (self.width, self.height), Image.Resampling.BICUBIC, box=(left, top, right, bottom)
        )

    def prepare(self, pixels: Tensor) -> Tensor:
        """Pixels to network input, ``(x / 255 - mean) / std``: uint8 -> float32 ``[N, C, H, W]``.

        >>> half = Preprocessing(1, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
        >>> half.prepare(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten().tolist()
        [1.0, 1.0, 1.0]
        """
        mean, std = (
            torch.tensor(of, dtype=torch.float64).mul(255).float()[:, None, None]  # in pixels
            for of in (self.mean, self.std)
        )
        return (pixels.float() - mean) / std

    def __str__(self) -> str:
        """In the words of a summary.

        >>> print(Preprocessing(28, mean=(0.3,), std=(0.35,)))
        short side 32, centre 28x28, (x / 255 - 0.3) / 0.35
        """
        mean, std = (
            f"{of[0]:.4g}" if len(set(of)) == 1 else f"[{', '.join(f'{v:.4g}' for v in of)}]"
            for of in (self.mean, self.std)
        )
        return (
            f"short side {self.short_side}, centre {self.height}x{self.width}, "
            f"(x / 255 - {mean}) / {std}"
        )
