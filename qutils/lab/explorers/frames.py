"""An explorer for a page without a kernel: every answer computed beforehand."""

from __future__ import annotations

import base64
import sys

from tqdm.auto import tqdm

from qutils.errors import InvalidInputError
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.explorer import Explorer, Setting

#: Largest number of bytes one explorer may add to its page.
LIMIT = 2_500_000


def frames(
    explorer: Explorer, start: Setting | None = None, progress: bool = False
) -> dict[str, object]:
    """What the page's script reads: state, pictures (WebP, base64), texts, and frames by setting.

    Equal pictures and texts are stored once. A control with one option left is not shown.
    ``frames["0,3"] = [picture, text, alt]`` for option 0
    of the first control and option 3 of the second. The page starts at ``start`` where it offers
    those options.

    Raises:
        InvalidInputError: the frames take more than ``LIMIT`` bytes.
    """
    controls = offered(explorer)
    pictures: dict[str, int] = {}
    texts: dict[str, int] = {}
    found: dict[str, list[int | str]] = {}
    settings = list(explorer.frames())
    bar = tqdm(settings, desc=explorer.title, unit="frame", disable=not progress, file=sys.stderr)
    for setting in bar:
        view = explorer.compute(**setting)
        picture = base64.b64encode(explorer.picture(view, "webp")).decode("ascii")
        key = ",".join(str(c.options.index(setting[c.name])) for c in controls)
        found[key] = [
            pictures.setdefault(picture, len(pictures)),
            texts.setdefault(view.html(), len(texts)),
            view.alt,
        ]
    size = sum(map(len, pictures)) + sum(map(len, texts))
    if size > LIMIT:
        raise InvalidInputError(
            f"{explorer.title}: {len(settings)} frames take {size:,} bytes, more than {LIMIT:,}: "
            "offer fewer options to pages without a kernel (Control.frames)"
        )
    state = {
        "title": explorer.title,
        "controls": [c.to_json() for c in controls],
        "setting": [_place(c, (start or {}).get(c.name, c.default)) for c in controls],
    }
    return {
        "state": state,
        "pictures": list(pictures),
        "texts": list(texts),
        "frames": found,
    }


def offered(explorer: Explorer) -> list[Control]:
    """The controls of a page without a kernel: those that leave more than one option."""
    controls = [c.only(c.frames) if c.frames else c for c in explorer.controls]
    return [control for control in controls if len(control.options) > 1]


def _place(control: Control, value: Value) -> int:
    """Index of a value among the options, else of the default."""
    return control.options.index(value if value in control.options else control.default)
