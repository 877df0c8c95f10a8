"""An executed notebook as one readable page: code folded, nothing loaded, all escaped."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from qutils.lab.results.compare import Change, Comparison
from qutils.lab.results.formats import change, day, duration, number, quantity, signed
from qutils.lab.results.headlines import TRIAL, TRIAL_NOTE
from qutils.lab.results.provenance import Provenance
from qutils.lab.results.reuse import Reuse
from qutils.lab.runner.parameters import TAG
from qutils.lab.site import explorers
from qutils.lab.site.markup import (
    data_uri,
    highlight_css,
    highlighted,
    joined,
    last_lines,
    markdown,
    preformatted,
    sanitized,
)

TEMPLATES = explorers.TEMPLATES
SOLUTION = "solution"
#: Cells left out of a page; a report has its parameters in a table at its end.
_HIDDEN = {"injected-parameters", "remove-cell", "papermill-error-cell-tag"}
_PICTURES = ("image/svg+xml", "image/png", "image/jpeg")


@dataclass(frozen=True)
class Block:
    """A piece of the page.

    ``kind`` is ``prose``, ``code``, ``output``, ``picture``, ``explorer``, ``log`` or ``error``;
    ``solution`` whether it belongs to the solution of an exercise; ``width`` is that of a picture
    in CSS pixels, None: as wide as it is.
    """

    kind: str
    content: Markup
    alt: str = ""
    solution: bool = False
    width: int | None = None


@dataclass(frozen=True)
class Section:
    """Neighbouring pieces, folded away if they are the solution of an exercise."""

    blocks: tuple[Block, ...]
    solution: bool


def render(
    notebook: Any,
    title: str,
    provenance: Provenance,
    *,
    change: Comparison | None = None,
    measured: bool = False,
    reuse: Reuse | None = None,
    failure: str | None = None,
) -> str:
    """HTML of an executed notebook; ``failure`` puts the cause in a red banner on top.

    ``measured``: it wrote results. Without ``reuse`` all of them were measured anew.
    """
    template = environment().get_template("report.html.j2")
    return template.render(
        title=title,
        provenance=provenance,
        change=change,
        measured=measured,
        reuse=reuse,
        failure=failure,
        **body(notebook),
    )


def body(notebook: Any, parameters: bool = False) -> dict[str, Any]:
    """What every page of a notebook is rendered from: its sections, styles and script.

    ``parameters`` shows the cell that declares them.
    """
    pieces = list(blocks(notebook, parameters))
    kinds = {piece.kind for piece in pieces}
    return {
        "headed": any("<h1" in piece.content for piece in pieces if piece.kind == "prose"),
        "sections": [
            Section(tuple(group), solution)
            for solution, group in groupby(pieces, key=lambda piece: piece.solution)
        ],
        "traceback": "error" in kinds,
        "styles": Markup(highlight_css()) + (explorers.stylesheet() if "explorer" in kinds else ""),
        "script": explorers.script() if "explorer" in kinds else "",
    }


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
    made.filters |= {"quantity": quantity, "change": change, "by_label": by_label}
    made.globals |= {"TRIAL": TRIAL, "TRIAL_NOTE": TRIAL_NOTE}
    return made


def by_label(changes: Iterable[Change]) -> list[tuple[str, list[Change]]]:
    """Neighbouring changes of one configuration together."""
    return [(label, list(group)) for label, group in groupby(changes, lambda c: c.label)]


def blocks(notebook: Any, parameters: bool = False) -> Iterator[Block]:
    """Pieces of the page in the order of the cells."""
    hidden = _HIDDEN if parameters else {*_HIDDEN, TAG}
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", []))
        if tags & hidden:
            continue
        for block in _cell(cell, tags):
            yield replace(block, solution=SOLUTION in tags)


def _cell(cell: Any, tags: set[str]) -> Iterator[Block]:
    if cell.cell_type == "markdown":
        yield Block("prose", markdown(cell.source))
    elif cell.cell_type == "code":
        if cell.source.strip() and "remove-input" not in tags:
            yield Block("code", highlighted(cell.source))
        shown = [block for output in merged(cell.outputs) for block in _output(output)]
        if any(block.kind == "explorer" for block in shown):
            shown = [block for block in shown if block.kind != "log"]  # of computing its frames
        yield from shown


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
    if explorers.MIME in data:
        yield Block("explorer", explorers.embedded(data[explorers.MIME]))
        return
    if "text/html" in data:
        yield Block(
            "output",
            Markup('<div class="wide">{}</div>').format(sanitized(joined(data["text/html"]))),
        )
        return
    for kind in _PICTURES:
        if kind in data:
            told = metadata.get(kind, {})
            alt = told.get("alt", "Figure; its code is folded above.")
            address = Markup.escape(data_uri(kind, joined(data[kind])))
            yield Block("picture", address, alt, width=told.get("width"))
            return
    if "text/markdown" in data:
        yield Block("prose", markdown(joined(data["text/markdown"])))
    elif "text/plain" in data:
        yield Block("output", preformatted(joined(data["text/plain"])))
