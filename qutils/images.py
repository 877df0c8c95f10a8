"""One reader of image files: bounded in size, with one error for whatever is damaged.

Classifiers are trained on what Pillow decodes (``open_image``), detectors on what OpenCV decodes
(``read_rgb``). The two differ for 16-bit grey, CMYK, and orientation marks of cameras.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from qutils.errors import DataError, QutilsError

#: Pixels of the largest image that is decoded: 0.5 GB as RGB. Pillow refuses more by default.
MOST_PIXELS = 178_956_970
#: Modes that Pillow converts to the RGB values that OpenCV reads.
_PLAIN = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
_BITS, _WHITE_IS_ZERO, _SAMPLES, _ORIENTATION = 258, 262, 277, 274  # tags of TIFF and EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImageError(DataError):
    """An image file that cannot be used; ``path`` and ``reason`` say which and why."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path} cannot be read: {reason}. Remove or replace it.")


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Yield the first frame of an image file, decoded when its pixels are needed.

    Errors inside the ``with`` block are reported as those of this file.

    Raises:
        UnreadableImageError: no image, a damaged one, or one of more than ``MOST_PIXELS`` pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about size and metadata; errors are raised
            with Image.open(path) as image:
                _check_size(image)
                yield image
    except QutilsError:
        raise
    except Exception as error:  # whatever Pillow raises of a damaged file
        raise UnreadableImageError(path, _reason(error)) from error


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"{width:,} x {height:,} pixels are more than the {MOST_PIXELS:,} that are decoded"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than the {MOST_PIXELS:,} pixels that are decoded"
    said = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return " ".join(said.split()).rstrip(".") or type(error).__name__


def check_depth(image: Image.Image) -> None:
    """Raise ValueError if the values of an image have more than 8 bits."""
    if image.mode.startswith(("I", "F")):
        raise ValueError("its values have more than 8 bits; save it with 8 bits a channel")


def read_rgb(path: Path) -> Image.Image:
    """Return an image as OpenCV reads it in colour, and Ultralytics with it: RGB, upright.

    Transparency is ignored, grey is repeated, and the upper 8 of 16 bits are kept.

    Raises:
        UnreadableImageError: a damaged file, or one that OpenCV refuses or reads otherwise.
    """
    with open_image(path) as image:
        _refuse_unlike(image)
        image.load()
        turn = _TURNS.get(_orientation(image))
        rgb = _rgb(image)
        return rgb if turn is None else rgb.transpose(turn)


@dataclass(frozen=True)
class ImageFacts:
    """What the head of an image file says."""

    width: int  # upright [pixels]
    height: int
    format: str
    deep: bool = False  # grey of 16 bits
    frames: bool = False  # more than one; the first is read


def image_facts(path: Path) -> ImageFacts:
    """Read the head of an image file that ``read_rgb`` takes.

    Raises:
        UnreadableImageError: as ``read_rgb``, as far as the head shows it.
    """
    with open_image(path) as image:
        _refuse_unlike(image)
        turned = image.format != "TIFF" and _orientation(image) >= 5  # Pillow turns TIFF itself
        width, height = image.size[::-1] if turned else image.size
        several = image.format != "MPO" and getattr(image, "is_animated", False)
        return ImageFacts(width, height, str(image.format), _is_deep(image), bool(several))


def check_whole(path: Path) -> None:
    """Raise UnreadableImageError for a truncated file; decode only where nothing else shows it."""
    with open_image(path) as image:
        kind = image.format
        if kind == "PNG":
            image.verify()
    if kind == "JPEG":
        with path.open("rb") as file:
            file.seek(-2, os.SEEK_END)
            kind = None if file.read() != b"\xff\xd9" else kind
    if kind not in ("PNG", "JPEG"):
        read_rgb(path)


def _is_deep(image: Image.Image) -> bool:
    """Whether an image is grey of 16 bits; older versions of Pillow call that of a PNG ``I``."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")


def _refuse_unlike(image: Image.Image) -> None:
    """Raise ValueError for kinds that OpenCV refuses, or whose values cannot be told from here."""
    tags = image.tag_v2 if image.format == "TIFF" else {}  # type: ignore[attr-defined]
    bits, samples = set(np.atleast_1d(tags.get(_BITS, 8)).tolist()), tags.get(_SAMPLES, 1)
    if not bits <= {1, 8, 16} or samples > 4:
        raise ValueError(
            f"a TIFF of {samples} x {max(bits)} bits a pixel; save it with 8 bits a channel"
        )
    inks = image.mode == "CMYK" and image.format in ("JPEG", "TIFF")
    if not (image.mode in _PLAIN or inks or _is_deep(image)):
        if image.mode.startswith(("I", "F")):
            check_depth(image)
        raise ValueError(f"its pixels are {image.mode}; save it as RGB with 8 bits a channel")


def _orientation(image: Image.Image) -> int:
    """Orientation 1..8 as EXIF says it; 1 where it says none, or is damaged."""
    if image.format == "TIFF":
        return 1  # Pillow turned it
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif") or b"")
        return int(exif.get(_ORIENTATION, 1))
    except Exception:  # whatever damaged metadata raises: OpenCV then turns nothing either
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded image to RGB with the values that OpenCV gives."""
    tiff = image.format == "TIFF"
    if _is_deep(image):
        high = (np.asarray(image) >> 8).astype(np.uint8)
        inverted = tiff and image.tag_v2.get(_WHITE_IS_ZERO) == 0  # type: ignore[attr-defined]
        return Image.fromarray(255 - high if inverted else high).convert("RGB")
    if image.mode == "CMYK":
        return Image.fromarray(_without_inks(np.asarray(image).astype(np.uint16), tiff))
    if image.mode == "RGBA" and tiff and image.getchannel("A").getextrema() != (255, 255):
        raise ValueError("a TIFF with transparent pixels; save it without transparency")
    return image.convert("RGB")


def _without_inks(inks: NDArray[np.uint16], exact: bool) -> NDArray[np.uint8]:
    """CMYK to RGB, uint16 -> uint8 ``[H, W, 3]``, rounded as libtiff does, or else OpenCV."""
    colour, light = inks[..., :3], 255 - inks[..., 3:]
    found = (255 - colour) * light // 255 if exact else light - (colour * light >> 8)
    pixels: NDArray[np.uint8] = found.astype(np.uint8)
    return pixels
