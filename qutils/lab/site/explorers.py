"""Explorers on a page without a kernel: their answers as data, and the script that shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from qutils.lab.site.markup import sanitized

#: How explorers show themselves, set by whoever runs a notebook: ``live``, ``picture``, ``frames``.
MODE = "QUTILS_EXPLORERS"
#: Output type of a notebook cell that holds an explorer's precomputed answers.
MIME = "application/vnd.qutils.explorer+json"
TEMPLATES = Path(__file__).parent / "templates"
#: Characters that could end a script element, or a line of JavaScript.
_UNSAFE = {char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_HOLDER = Markup(
    '<div data-explorer><script type="application/json">{}</script>'
    "<noscript><p>The sliders of this page need JavaScript.</p></noscript></div>"
)


def embedded(data: Mapping[str, Any]) -> Markup:
    r"""An explorer's answers as an element that ``explorer.js`` fills; their HTML is sanitized.

    >>> print(embedded({"texts": ["<p onclick='f()'>31 dB</p>"]})[51:81])
    {"texts": ["\u003cp\u003e31 dB
    """
    texts = [str(sanitized(text)) for text in data["texts"]]
    return _HOLDER.format(Markup(safe_json({**data, "texts": texts})))


def safe_json(data: Mapping[str, object]) -> str:
    r"""JSON that may stand inside a script element: nothing in it ends one.

    >>> safe_json({"a": "<b>&"})
    '{"a": "\\u003cb\\u003e\\u0026"}'
    """
    text = json.dumps(data, ensure_ascii=False)
    return text.translate({ord(char): safe for char, safe in _UNSAFE.items()})


@lru_cache(maxsize=1)
def script() -> Markup:
    """What moves the explorers of a page: once on each page that has one."""
    return Markup((TEMPLATES / "explorer.js").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def stylesheet() -> Markup:
    """How they look."""
    return Markup((TEMPLATES / "explorer.css").read_text(encoding="utf-8"))
