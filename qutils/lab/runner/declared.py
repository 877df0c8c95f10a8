"""The types a notebook parameter may be declared with, read from ``ast``, never evaluated."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from qutils.errors import InvalidInputError

SCALARS = ("int", "float", "str", "bool")


@dataclass(frozen=True)
class Type:
    """One declared type: ``list[int]`` is ``Type("list", (Type("int"),))``.

    ``kind`` is a scalar's name, ``none``, ``any``, ``list``, ``dict``, ``union`` or ``literal``;
    only ``literal`` has ``choices``.
    """

    kind: str
    args: tuple[Type, ...] = ()
    choices: tuple[object, ...] = ()

    def __str__(self) -> str:
        inner = [str(arg) for arg in self.args]
        match self.kind:
            case "union":
                return " | ".join(inner)
            case "literal":
                return f"Literal[{', '.join(map(repr, self.choices))}]"
            case "none" | "any":
                return self.kind.capitalize()
            case "list" | "dict" if inner:
                return f"{self.kind}[{', '.join(inner)}]"
        return self.kind

    @property
    def members(self) -> tuple[Type, ...]:
        """The alternatives of a union; any other type is its own only one."""
        return self.args if self.kind == "union" else (self,)

    def allowed(self) -> tuple[object, ...]:
        """Every choice a ``Literal`` anywhere inside this type permits, in order."""
        return self.choices + tuple(c for arg in self.args for c in arg.allowed())


ANY = Type("any")
NONE = Type("none")


def union(members: tuple[Type, ...]) -> Type:
    """Flat union without repeats; one member is that member."""
    flat = tuple(dict.fromkeys(m for member in members for m in member.members))
    return flat[0] if len(flat) == 1 else Type("union", flat)


def parse_type(node: ast.expr) -> Type:
    """Type of an annotation.

    >>> str(parse_type(ast.parse("list[Literal['a', 'b'] | None]", mode="eval").body))
    "list[Literal['a', 'b'] | None]"

    Raises:
        InvalidInputError: the annotation is none of the supported forms.
    """
    match node:
        case ast.Constant(value=None):
            return NONE
        case ast.Constant(value=str(text)):
            return parse_type(ast.parse(text, mode="eval").body)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return union((parse_type(left), parse_type(right)))
        case ast.Subscript(value=base, slice=inside):
            return _subscript(_last_name(base), inside, node)
    name = _last_name(node).lower()
    if name in (*SCALARS, "any"):
        return Type(name)
    if name == "list":
        return Type("list", (ANY,))
    if name == "dict":
        return Type("dict", (Type("str"), ANY))
    raise _unsupported(node)


def _subscript(name: str, inside: ast.expr, node: ast.expr) -> Type:
    parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
    if name == "Literal":
        return Type("literal", choices=tuple(ast.literal_eval(part) for part in parts))
    args = tuple(parse_type(part) for part in parts)
    if name == "Optional":
        return union((*args, NONE))
    if name == "Union":
        return union(args)
    if name.lower() == "list" and len(args) == 1:
        return Type("list", args)
    if name.lower() == "dict" and len(args) == 2 and args[0].kind == "str":
        return Type("dict", args)
    raise _unsupported(node)


def _last_name(node: ast.expr) -> str:
    """``typing.Literal`` and ``Literal`` are both ``Literal``."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    raise _unsupported(node)


def _unsupported(node: ast.expr) -> InvalidInputError:
    return InvalidInputError(
        f"parameter type {ast.unparse(node)!r} is not supported; use int, float, str, bool, Any, "
        "list[...], dict[str, ...], Literal[...], or a union of these and None"
    )


def infer_type(value: object) -> Type:
    """Type of a default that carries no annotation.

    >>> str(infer_type([2, 4])), str(infer_type([1, "a"])), str(infer_type(None))
    ('list[int]', 'list[Any]', 'Any')
    """
    if isinstance(value, list):
        return Type("list", (_common(value),))
    if isinstance(value, dict):
        return Type("dict", (Type("str"), _common(list(value.values()))))
    return Type(type(value).__name__) if type(value).__name__ in SCALARS else ANY


def _common(values: list[object]) -> Type:
    kinds = {infer_type(value) for value in values}
    if kinds == {Type("int"), Type("float")}:
        return Type("float")
    return kinds.pop() if len(kinds) == 1 else ANY
