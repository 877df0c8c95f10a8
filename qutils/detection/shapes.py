"""Pictures whose boxes are known: textured shapes over natural pictures. Pure, and seeded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

#: An outline: points around the origin, at most 1 away from it.
Outline = tuple[tuple[float, float], ...]
#: Masks are drawn so many times larger and averaged down, so that edges are smooth.
_OVERSAMPLING = 4
#: An object of which less is to be seen is not labelled, and so not drawn.
MIN_VISIBLE = 0.5


def _polygon(corners: int, turn: float = 0.0) -> Outline:
    angles = [turn + 2 * math.pi * k / corners for k in range(corners)]
    return tuple((math.sin(a), -math.cos(a)) for a in angles)


def _star(points: int, inner: float) -> Outline:
    tips, notches = _polygon(points), _polygon(points, math.pi / points)
    return tuple(
        corner
        for tip, (x, y) in zip(tips, notches, strict=True)
        for corner in (tip, (inner * x, inner * y))
    )


def _cross(arm: float) -> Outline:
    edge = math.sqrt(1 - arm * arm)
    quarter = ((-arm, -edge), (arm, -edge), (arm, -arm))
    turns = [(quarter, 1, 0), (quarter, 0, 1), (quarter, -1, 0), (quarter, 0, -1)]
    return tuple((c * x - s * y, s * x + c * y) for points, c, s in turns for x, y in points)


#: The classes, in the order of their numbers.
SHAPES: dict[str, Outline] = {
    "disk": _polygon(48),
    "triangle": _polygon(3),
    "square": _polygon(4),
    "star": _star(5, 0.45),
    "cross": _cross(0.3),
}


@dataclass(frozen=True)
class Box:
    """One label: class number, centre and size as shares of the picture, as YOLO files hold them.

    >>> Box(2, 0.5, 0.5, 0.25, 0.5).line
    '2 0.500000 0.500000 0.250000 0.500000'
    """

    label: int
    x: float
    y: float
    width: float
    height: float

    @property
    def line(self) -> str:
        """Its line of a label file."""
        numbers = (self.x, self.y, self.width, self.height)
        return " ".join([str(self.label), *(f"{number:.6f}" for number in numbers)])


@dataclass(frozen=True)
class Scene:
    """A picture, uint8 ``[H, W, 3]``, and the boxes of what is to be seen of its objects."""

    pixels: NDArray[np.uint8]
    boxes: tuple[Box, ...]


def draw_scene(
    background: Image.Image, draw: np.random.Generator, most: int = 5, smallest: float = 0.12
) -> Scene:
    """Objects of random class, size, turn and texture over ``background``, later ones in front.

    Sizes [share of the picture's side] are log-uniform in ``smallest..0.45``; an object covers
    others, a box holds what is left to be seen, and one that would leave less than half of another
    is not put there. Light, blur and noise of a camera come last.

    Args:
        background: RGB, of the size that the picture gets; it is not changed.
    """
    side = min(background.size)
    pixels = np.asarray(background.convert("RGB")).astype(np.float32) / np.float32(255)
    placed: list[tuple[int, NDArray[np.bool_], int]] = []  # class, what is visible, whole area
    for _ in range(int(draw.integers(1, most + 1))):
        label = int(draw.integers(len(SHAPES)))
        radius = side * math.exp(draw.uniform(math.log(smallest), math.log(0.45))) / 2
        mask = _mask(background.size, tuple(SHAPES.values())[label], radius, draw)
        solid = mask > 0.5
        if not solid.any() or not _leaves_enough(placed, solid):
            continue
        pixels += mask[..., None] * (_texture(background.size, draw) - pixels)
        placed = [(one, seen & ~solid, whole) for one, seen, whole in placed]
        placed.append((label, solid, int(solid.sum())))
    boxes = tuple(_box(label, seen) for label, seen, _ in placed)
    return Scene(_photographed(pixels, draw), boxes)


def _leaves_enough(
    placed: Sequence[tuple[int, NDArray[np.bool_], int]], solid: NDArray[np.bool_]
) -> bool:
    return all((seen & ~solid).sum() >= MIN_VISIBLE * whole for _, seen, whole in placed)


def _mask(
    size: tuple[int, int], outline: Outline, radius: float, draw: np.random.Generator
) -> NDArray[np.float32]:
    """Coverage ``[H, W]`` in 0..1 of a turned, slightly squeezed shape that lies inside."""
    width, height = size
    turn, squeeze = draw.uniform(0, 2 * math.pi), draw.uniform(0.75, 1.0)
    c, s = math.cos(turn), math.sin(turn)
    points = [(c * x - s * y * squeeze, s * x + c * y * squeeze) for x, y in outline]
    x, y = (draw.uniform(radius, max(radius, length - radius)) for length in (width, height))
    corners = [
        (_OVERSAMPLING * (x + radius * px), _OVERSAMPLING * (y + radius * py)) for px, py in points
    ]
    canvas = Image.new("L", (width * _OVERSAMPLING, height * _OVERSAMPLING))
    ImageDraw.Draw(canvas).polygon(corners, fill=255)
    return np.asarray(canvas.reduce(_OVERSAMPLING)).astype(np.float32) / np.float32(255)


def _texture(size: tuple[int, int], draw: np.random.Generator) -> NDArray[np.float32]:
    """Two colours ``[H, W, 3]`` mixed by a pattern: plain, stripes, checks, a slope or grains."""
    width, height = size
    one, other = draw.uniform(0, 1, (2, 3)).astype(np.float32)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    turn, period = draw.uniform(0, math.pi), draw.uniform(4, 16)
    along = math.cos(turn) * xs + math.sin(turn) * ys
    across = math.cos(turn) * ys - math.sin(turn) * xs
    patterns: tuple[Callable[[], NDArray[Any]], ...] = (
        lambda: np.zeros_like(xs),
        lambda: (np.sin(2 * math.pi * along / period) > 0).astype(np.float32),
        lambda: ((along // period + across // period) % 2).astype(np.float32),
        lambda: (along - along.min()) / max(float(np.ptp(along)), 1.0),
        lambda: draw.uniform(0, 1, (height, width)).astype(np.float32),
    )
    mix = patterns[int(draw.integers(len(patterns)))]()
    mixed: NDArray[np.float32] = (one + mix[..., None] * (other - one)).astype(np.float32)
    return mixed


def _box(label: int, seen: NDArray[np.bool_]) -> Box:
    height, width = seen.shape
    ys, xs = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    top, bottom, left, right = ys[0], ys[-1] + 1, xs[0], xs[-1] + 1
    return Box(
        label,
        float(left + right) / 2 / width,
        float(top + bottom) / 2 / height,
        float(right - left) / width,
        float(bottom - top) / height,
    )


def _photographed(pixels: NDArray[np.float32], draw: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, blur and noise: gain 0.7..1.3, blur up to 0.8 pixels, noise up to 4 %."""
    gain, blur, noise = draw.uniform(0.7, 1.3), draw.uniform(0, 0.8), draw.uniform(0, 0.04)
    exposed = Image.fromarray((255 * (pixels * gain).clip(0, 1)).round().astype(np.uint8))
    blurred = np.asarray(exposed.filter(ImageFilter.GaussianBlur(blur)), np.float32)
    grain = draw.normal(0, 255 * noise, blurred.shape).astype(np.float32)
    picture: NDArray[np.uint8] = (blurred + grain).clip(0, 255).round().astype(np.uint8)
    return picture
