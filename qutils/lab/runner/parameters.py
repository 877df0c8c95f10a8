"""What a notebook lets its reader set: the one cell tagged ``parameters``."""

from __future__ import annotations

import ast
import difflib
import io
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from qutils.errors import InvalidInputError
from qutils.lab.runner.coercion import MismatchError, Text, coerce
from qutils.lab.runner.declared import Type, infer_type, parse_type
from qutils.lab.runner.limits import Limits, limits_of
from qutils.reading import MOST_TEXT, reading

TAG = "parameters"
_FIX = "Save it again in Jupyter, or give another file"


@dataclass(frozen=True)
class Parameter:
    """One name of the parameters cell: ``bits: list[int] = [2, 4]  # 2..8, help``.

    Limits at the start of the help hold for a number, and for every number of a list; a list whose
    elements are limited, or chosen from a ``Literal``, may not be empty.
    """

    name: str
    type: Type
    default: object
    help: str = ""

    @property
    def choices(self) -> tuple[object, ...]:
        """The values a declared ``Literal`` permits; empty if any value of the type will do."""
        return self.type.allowed()

    @property
    def limits(self) -> Limits | None:
        """What the help says of its numbers; None if any will do, or there are none."""
        inside = (arg for member in self.type.members for arg in (member, *member.args))
        numeric = any(member.kind in ("int", "float") for member in inside)
        return limits_of(self.help) if numeric else None

    def read(self, given: object) -> object:
        """The value that ``given`` denotes.

        Raises:
            InvalidInputError: it has another type, or is not allowed; names parameter, type, value
                and what is.
        """
        try:
            value = coerce(self.type, given)
            self._allow(value)
            return value
        except MismatchError as error:
            shown = given.tree if isinstance(given, Text) else given
            raise InvalidInputError(
                f"parameter {self.name!r} is {self.type}, got {shown!r}: {error}"
            ) from error

    def _allow(self, value: object) -> None:
        limits = self.limits
        if value == [] and (limits or self.choices):
            raise MismatchError("name at least one")
        for number in value if isinstance(value, list) else [value]:
            if limits and number is not None and number not in limits:
                raise MismatchError(f"{number} is not allowed, choose {limits}")


def read_notebook(path: Path) -> Any:
    """The notebook at ``path`` in the current format (a ``nbformat.NotebookNode``).

    Raises:
        InvalidInputError: there is no such file, or it is not a notebook.
    """
    if not path.is_file():
        raise InvalidInputError(f"no notebook at {path}")
    with reading(path, _FIX, "not a notebook", MOST_TEXT, InvalidInputError):
        read: Any = nbformat.reads
        notebook = read(path.read_text(encoding="utf-8"), as_version=4)
        for place, cell in enumerate(notebook.cells):
            if not (isinstance(cell.source, str) and isinstance(cell.metadata, dict)):
                raise ValueError(f"cell {place} has no source or no metadata")
            if not isinstance(cell.cell_type, str) or not _are_texts(cell.metadata.get("tags", [])):
                raise ValueError(f"cell {place} has no type, or tags that are no texts")
        return notebook


def _are_texts(tags: object) -> bool:
    return isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)


def tagged_cell(notebook: Any, path: Path) -> str:
    """Source of the one code cell tagged ``parameters``.

    Raises:
        InvalidInputError: none is tagged, or more than one.
    """
    tagged = [
        (place, cell.source)
        for place, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and TAG in cell.metadata.get("tags", [])
    ]
    if len(tagged) != 1:
        found = f"cells {', '.join(str(p) for p, _ in tagged)} are" if tagged else "no code cell is"
        raise InvalidInputError(
            f"{path}: {found} tagged {TAG!r}. Tag exactly one, "
            "else given values would be lost or overwritten by the defaults."
        )
    return str(tagged[0][1])


def parse_parameters(source: str) -> tuple[Parameter, ...]:
    r"""Parameters that the source of a cell declares, in order.

    >>> [p.name for p in parse_parameters("bits: list[int] = [2, 4]  # widths\nseed = 0")]
    ['bits', 'seed']

    Raises:
        InvalidInputError: something other than ``name: type = literal`` stands there.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InvalidInputError(f"the parameters cell is not Python: {error}") from error
    comments = _comments(source)
    found: dict[str, Parameter] = {}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue  # ``from typing import Literal``
        parameter = _parameter(node, comments)
        if parameter.name in found:
            raise InvalidInputError(f"parameter {parameter.name!r} is declared twice")
        found[parameter.name] = parameter
    return tuple(found.values())


def read_parameters(path: Path) -> tuple[Parameter, ...]:
    """Parameters of the notebook at ``path``.

    Raises:
        InvalidInputError: unreadable notebook, not one tagged cell, or an unreadable declaration.
    """
    source = tagged_cell(read_notebook(path), path)
    try:
        return parse_parameters(source)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error


def resolve(declared: Sequence[Parameter], given: Mapping[str, object]) -> dict[str, object]:
    """Every declared parameter with its given value, or else its default.

    Raises:
        InvalidInputError: unknown or mistyped names, all of them in one message.
    """
    known = {parameter.name: parameter for parameter in declared}
    values = {parameter.name: parameter.default for parameter in declared}
    problems = []
    for name, value in given.items():
        if name not in known:
            problems.append(_unknown(name, list(known)))
            continue
        try:
            values[name] = known[name].read(value)
        except InvalidInputError as error:
            problems.append(str(error))
    if problems:
        raise InvalidInputError("\n".join(problems))
    return values


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    mend = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown parameter {name!r}: {mend}The notebook has: {', '.join(known) or 'none'}."


def _parameter(node: ast.stmt, comments: Mapping[int, str]) -> Parameter:
    match node:
        case ast.AnnAssign(
            target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value
        ):
            declared: Type | None = parse_type(annotation)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            declared = None
        case _:
            raise InvalidInputError(
                f"line {node.lineno} of the parameters cell is {ast.unparse(node)!r}; "
                "only 'name: type = default  # help' may stand there"
            )
    default = _literal(name, value)
    lines = (node.end_lineno or 0, value.end_lineno or 0, node.lineno)  # value: in parentheses
    text = next((comments[line] for line in lines if line in comments), "")
    parameter = Parameter(name, declared or infer_type(default), default, text)
    parameter.read(default)  # a default of another type than declared is a mistake
    return parameter


def _literal(name: str, node: ast.expr) -> object:
    match node:
        case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str(text))], keywords=[]):
            return float(text)  # float("nan"), float("inf")
    try:
        return ast.literal_eval(node)
    except Exception as error:  # also of literals that are none, such as {[]: 1}
        raise InvalidInputError(
            f"the default of parameter {name!r} is {ast.unparse(node)!r}; write a literal value"
        ) from error


def _comments(source: str) -> dict[int, str]:
    """Line number -> text of the comment that ends the line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.lstrip("# ").rstrip()
        for token in tokens
        if token.type == tokenize.COMMENT
    }
