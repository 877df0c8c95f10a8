"""What notebooks hold, as HTML that can do no harm: sanitized, escaped, nothing loaded."""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from html import escape, unescape
from typing import Any

from markupsafe import Markup

from qutils.lab.site.formulas import mathml

_TAGS = (
    *("a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del"),
    *("details", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5"),
    *("h6", "hr", "i", "kbd", "li", "mark", "ol", "p", "pre", "s", "small", "span", "strong"),
    *("sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul"),
)
_ATTRIBUTES = {
    "*": ["class", "id", "style", "title"],
    "a": ["href"],
    "abbr": ["title"],
    "dd": ["data-fact"],
    "details": ["open"],
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan", "scope"],
}
_NOT_TEXT = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_MARKS = "\ue000", "\ue001"  # around the number of a formula; no text uses these characters
_FORMULA = re.compile(f"{_MARKS[0]}([0-9]+){_MARKS[1]}")


def markdown(source: str) -> Markup:
    """Prose of a markdown cell, sanitized, its formulas as MathML."""
    from nbconvert.filters.markdown_mistune import (  # slow to import
        IPythonRenderer,
        MarkdownWithMath,
    )

    found: list[Markup] = []

    def keep(latex: str, block: bool = False) -> str:
        found.append(mathml(latex, block))
        return f"{_MARKS[0]}{len(found) - 1}{_MARKS[1]}"

    renderer: Any = IPythonRenderer(escape=False)
    renderer.heading = _heading
    renderer.inline_math = keep
    renderer.block_math = lambda body: keep(body, block=True)
    renderer.latex_environment = lambda name, body: keep(
        f"\\begin{{{name}}}{body}\\end{{{name}}}", block=True
    )
    text = re.sub("[{}{}]".format(*_MARKS), "", source)
    html = sanitized(MarkdownWithMath(renderer=renderer).render(text))
    return Markup(_FORMULA.sub(lambda match: found[int(match[1])], html))


def _heading(text: str, level: int, **_: object) -> str:
    """A heading with the id that Jupyter would give it, so that links within a notebook work."""
    plain = _FORMULA.sub("", re.sub(r"<[^>]*>", "", text))
    return f'<h{level} id="{escape(unescape(plain).replace(" ", "-"))}">{text}</h{level}>\n'


def sanitized(source: str) -> Markup:
    """HTML without scripts, styles of whole pages, forms, frames and remote pictures."""
    from nbconvert.preprocessors import sanitize

    make: Any = sanitize.SanitizeHTML
    cleaner = make(tags=list(_TAGS), attributes=_ATTRIBUTES, strip=True)
    return Markup(cleaner.sanitize_html_tags(_NOT_TEXT.sub("", source)))


def preformatted(text: str) -> Markup:
    """Escaped text with terminal colours as classes."""
    from nbconvert import filters

    convert: Any = filters.ansi2html  # escapes first
    return Markup("<pre>{}</pre>").format(Markup(convert(text)))


def last_lines(text: str) -> str:
    r"""What a terminal shows in the end: a carriage return starts its line again.

    >>> last_lines("10 %\r50 %\r100 %\nnext")
    '100 %\nnext'
    """
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join(lines)


def highlighted(source: str) -> Markup:
    """Python source, escaped, with a class for each kind of token."""
    from nbconvert import filters

    make: Any = filters.Highlight2HTML
    return Markup(make(pygments_lexer="python")(source))


@lru_cache(maxsize=1)
def highlight_css() -> str:
    """Colours for those classes."""
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

    return str(HtmlFormatter(style="default", nobackground=True).get_style_defs(".highlight"))


def data_uri(kind: str, content: str) -> str:
    """A picture as the address of itself; ``content`` is base64, for SVG its source."""
    if kind == "image/svg+xml":  # shown as a picture, so that scripts inside do not run
        content = base64.b64encode(content.encode()).decode("ascii")
    return f"data:{kind};base64,{''.join(content.split())}"


def joined(text: str | list[str]) -> str:
    """Text of a notebook, which may be kept as a list of lines."""
    return text if isinstance(text, str) else "".join(text)
