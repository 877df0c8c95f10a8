"""Formulas as MathML, which browsers show by themselves: nothing is loaded, nothing can run."""

from __future__ import annotations

import re
from functools import lru_cache
from xml.etree.ElementTree import Element, tostring

from markupsafe import Markup

#: Attributes that MathML may keep; the rest (``href``, ``style``, ...) is dropped.
_ATTRIBUTES = {
    *("xmlns", "display", "displaystyle", "mathvariant", "stretchy", "fence", "form", "accent"),
    *("accentunder", "columnalign", "columnspacing", "rowspacing", "linethickness", "width"),
    *("separator", "lspace", "rspace", "minsize", "maxsize", "movablelimits", "scriptlevel"),
}
_HEX_ENTITY = re.compile(r"&amp;(#x[0-9A-Fa-f]+;)")
#: Environments under another name that means the same.
_SAME = {"aligned": "split", "align": "align*", "equation": "split", "gathered": "split"}


@lru_cache(maxsize=512)
def mathml(latex: str, block: bool = False) -> Markup:
    r"""A formula of a markdown cell (without its dollars) as a ``math`` element.

    What the converter does not know is shown as it was written.

    >>> print(mathml("q_1"))
    <math ...><mrow><msub><mi>q</mi><mn>1</mn></msub></mrow></math>
    >>> print(mathml("\\frac{"))
    <code>\frac{</code>
    """
    from latex2mathml.converter import Converter  # only pages need it

    display = "block" if block else "inline"
    try:
        element = Converter(display=display).convert_to_element(_renamed(latex.strip()))
    except Exception:  # its errors have no common base
        return Markup("<code>{}</code>").format(latex)
    _strip(element)
    text = tostring(element, encoding="unicode")
    return Markup(_HEX_ENTITY.sub(r"&\1", text))  # the converter writes characters as entities


def unknown_commands(latex: str) -> tuple[str, ...]:
    r"""Commands that would be shown as they are written.

    >>> unknown_commands("\\frac{1}{2} \\nonsense{x}"), unknown_commands("\\frac{")
    (('\\nonsense',), ('\\frac{',))
    """
    found = mathml(latex)
    if found.startswith("<code>"):
        return (latex,)
    return tuple(re.findall(r">(\\[A-Za-z]+|&amp;)<", found))


def _renamed(latex: str) -> str:
    for name, same in _SAME.items():
        latex = latex.replace(f"\\begin{{{name}}}", f"\\begin{{{same}}}")
        latex = latex.replace(f"\\end{{{name}}}", f"\\end{{{same}}}")
    return latex.replace("\\_", "_") if "\\text" in latex else latex


def _strip(element: Element) -> None:
    for part in element.iter():
        for name in set(part.attrib) - _ATTRIBUTES:
            del part.attrib[name]
