"""An executed notebook as one readable page: code folded, nothing loaded, all escaped."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from qutils.experiments.compare import Comparison
from qutils.experiments.formats import day, duration, number, signed
from qutils.experiments.markup import (
    data_uri,
    highlight_css,
    highlighted,
    joined,
    last_lines,
    markdown,
    preformatted,
    sanitized,
)
from qutils.experiments.provenance import Provenance

TEMPLATES = Path(__file__).parent / "templates"
#: Cells left out of the page: parameters stand in a table at its end.
_HIDDEN = {"parameters", "injected-parameters", "remove-cell", "papermill-error-cell-tag"}
_PICTURES = ("image/svg+xml", "image/png", "image/jpeg")


@dataclass(frozen=True)
class Block:
    """A piece of the page: ``prose``, ``code``, ``output``, ``picture``, ``log`` or ``error``."""

    kind: str
    content: Markup
    alt: str = ""


def render(
    notebook: Any,
    title: str,
    provenance: Provenance,
    *,
    change: Comparison | None = None,
    failure: str | None = None,
) -> str:
    """HTML of an executed notebook; ``failure`` puts the cause in a red banner on top."""
    pieces = list(blocks(notebook))
    template = environment().get_template("report.html.j2")
    return template.render(
        title=title,
        headed=any("<h1" in piece.content for piece in pieces if piece.kind == "prose"),
        blocks=pieces,
        provenance=provenance,
        change=change,
        failure=failure,
        highlight=Markup(highlight_css()),
    )


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates with autoescape on and the formats they share."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"duration": duration, "day": day, "number": number, "signed": signed}
    return made


def blocks(notebook: Any) -> Iterator[Block]:
    """Pieces of the page in the order of the cells."""
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", []))
        if tags & _HIDDEN:
            continue
        if cell.cell_type == "markdown":
            yield Block("prose", markdown(cell.source))
        elif cell.cell_type == "code":
            if cell.source.strip() and "remove-input" not in tags:
                yield Block("code", highlighted(cell.source))
            for output in merged(cell.outputs):
                yield from _output(output)


def merged(outputs: Any) -> list[Any]:
    """Outputs with neighbouring pieces of one stream joined, as a terminal would show them."""
    joint: list[Any] = []
    for output in outputs:
        last = joint[-1] if joint else None
        same = last is not None and output.get("name", 0) == last.get("name", 1)
        if last is not None and same:
            last.text = joined(last.text) + joined(output.text)
        else:
            joint.append(copy.copy(output))
    return joint


def _output(output: Any) -> Iterator[Block]:
    if output.output_type == "stream":
        text = last_lines(joined(output.text))
        if text.strip():
            yield Block("log" if output.name == "stderr" else "output", preformatted(text))
    elif output.output_type == "error":
        yield Block("error", preformatted("\n".join(output.traceback)))
    else:
        yield from _display(output.data, output.metadata)


def _display(data: Any, metadata: Any) -> Iterator[Block]:
    """The richest form of a displayed value that can stand on a page by itself."""
    if "text/html" in data:
        yield Block(
            "output",
            Markup('<div class="wide">{}</div>').format(sanitized(joined(data["text/html"]))),
        )
        return
    for kind in _PICTURES:
        if kind in data:
            alt = metadata.get(kind, {}).get("alt", "Figure; its code is folded above.")
            yield Block("picture", Markup.escape(data_uri(kind, joined(data[kind]))), alt)
            return
    if "text/markdown" in data:
        yield Block("prose", markdown(joined(data["text/markdown"])))
    elif "text/plain" in data:
        yield Block("output", preformatted(joined(data["text/plain"])))
