"""A short film of an explorer, taken from the running app: for the README."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from qutils.errors import DataError
from qutils.files import atomic_path
from qutils.lab.browser.explored import Explored

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDTH = 800  # pixels
SECONDS = 8.0
PICTURES = 20
OPTIONS = 3, 12  # of the controls that are moved, at least and at most
LIMIT = 1_500_000  # bytes: it is kept in git
_QUALITIES = (90, 80, 65, 50)


def film(explored: Explored, pictures: int = PICTURES) -> Iterator[Image.Image]:
    """Pictures of the explorer while its controls are moved by keyboard, one after another.

    Down first, so that bits are lost; what has too few options, or too many, stays.
    """
    yield _shot(explored)
    controls = [c for c in explored.controls if OPTIONS[0] <= c.count <= OPTIONS[1]]
    controls = controls or list(explored.controls)
    for place, control in enumerate(controls):
        explored.input(control).focus()
        forward = explored.at(control) == 0
        for _ in range(*_share(pictures - 1, place, len(controls))):
            at = explored.at(control)
            forward = (forward or at == 0) and at < control.count - 1
            explored.press(control, forward)
            yield _shot(explored)


def _share(moves: int, place: int, count: int) -> tuple[int, int]:
    """First and last of the moves that a control is given."""
    return moves * place // count, moves * (place + 1) // count


def save(pictures: Sequence[Image.Image], path: Path, seconds: float = SECONDS) -> int:
    """Write an animated WebP that repeats, as good as ``LIMIT`` bytes allow; returns its size.

    Raises:
        DataError: even the poorest quality takes more; what was there before is intact.
    """
    high = max(picture.height for picture in pictures)
    frames = [_on_white(picture, high) for picture in pictures]
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        frames[0].save(
            buffer, "webp", save_all=True, append_images=frames[1:], loop=0, quality=quality,
            duration=round(1000 * seconds / len(frames)), method=6,
        )  # fmt: skip
        if buffer.tell() <= LIMIT:
            with atomic_path(path) as temporary:
                temporary.write_bytes(buffer.getvalue())
            return buffer.tell()
    raise DataError(f"the film takes {buffer.tell():,} bytes, more than {LIMIT:,}: fewer pictures")


def record(browser: Browser, notebook: Path, path: Path) -> int:
    """Serve ``notebook`` with Voila, film its first explorer, write ``path``; returns its size."""
    from qutils.lab.browser.chromium import tab
    from qutils.lab.browser.notebooks import open_app
    from qutils.lab.serve import serving

    with serving("app", notebook) as served, tab(browser, WIDTH + 100, 1400) as watched:
        found = open_app(watched.page, served)
        if not found:
            raise DataError(f"{notebook} shows no explorer")
        return save(list(film(found[0])), path)


def _shot(explored: Explored) -> Image.Image:
    picture = Image.open(io.BytesIO(explored.root.screenshot())).convert("RGB")
    return picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), _SMOOTH)


_SMOOTH = Image.Resampling.LANCZOS


def _on_white(picture: Image.Image, height: int) -> Image.Image:
    sheet = Image.new("RGB", (picture.width, height), "white")
    sheet.paste(picture, (0, 0))
    return sheet
