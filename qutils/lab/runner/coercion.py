"""Strict reading of a given value as the declared type: nothing is guessed, nothing rounded."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from qutils.lab.runner.declared import Type
from qutils.reading import parse_yaml

#: A text fits the first member of a union in this order, so ``str`` takes what no other does.
_ORDER = ("none", "literal", "bool", "int", "float", "list", "dict", "any", "str")
_MOST_DIGITS = 40
_INTEGER = re.compile(r"[+-]?\d+")
_HINTS = {
    "int": "write a whole number",
    "float": "write a number",
    "bool": "write true or false",
    "none": "write null",
    "list": "write a list such as '[2, 4]'",
    "dict": "write a mapping such as '{a: 1}'",
    "str": "write text",
}


class MismatchError(Exception):
    """A value that the declared type does not admit; the message is the mend."""


@dataclass(frozen=True)
class Text:
    """A value as typed by a user, whose meaning the declared type decides.

    ``tree`` is a string, or lists and mappings of strings when read from YAML.
    """

    tree: object


def yaml_texts(source: str) -> object:
    """Return YAML with every scalar as the text that was written (``007``, ``1e-3``, ``yes``).

    Raises:
        ValueError: no YAML, nested too deeply, or too many values.
    """
    return parse_yaml(source, yaml.BaseLoader)  # builds only str, list and dict


def coerce(declared: Type, given: object) -> object:
    """Value of ``declared`` type that ``given`` denotes.

    >>> coerce(Type("str"), Text("007")), coerce(Type("list", (Type("int"),)), Text("[2,4]"))
    ('007', [2, 4])

    Raises:
        MismatchError: ``given`` denotes none; the message says what to write.
    """
    if not isinstance(given, Text):
        return _from_value(declared, given)
    tree = given.tree
    containers = {"list", "dict", "any"} & {member.kind for member in declared.members}
    if isinstance(tree, str) and containers and tree.lstrip()[:1] in ("[", "{"):
        try:
            tree = yaml_texts(tree)
        except ValueError as error:
            raise MismatchError(f"it is not valid YAML ({error})") from error
    return _from_text(declared, tree)


def _from_text(declared: Type, tree: object) -> object:
    match declared.kind, tree:
        case "union", _:
            return _first_fit(declared, tree, _from_text)
        case "literal", str(text):
            for choice in declared.choices:
                if text == _spelling(choice):
                    return choice
        case "str", str(text):
            return text
        case "int", str(text) if _INTEGER.fullmatch(text.strip()):
            if len(text.strip()) > _MOST_DIGITS:
                raise MismatchError(f"write at most {_MOST_DIGITS} digits")
            return int(text)
        case "float", str(text):
            try:
                return float(text)
            except ValueError:
                pass
        case "bool", str(text) if text.lower() in ("true", "false"):
            return text.lower() == "true"
        case "none", str(text) if text.lower() in ("none", "null", "~", ""):
            return None
        case "any", _:
            return _untyped(tree)
        case ("list", list()) | ("dict", dict()):
            return _inside(declared, tree, _from_text)
    raise _mismatch(declared, tree)


def _from_value(declared: Type, value: object) -> object:
    match declared.kind, value:
        case "union", _:
            return _first_fit(declared, value, _from_value)
        case "literal", _:
            for choice in declared.choices:
                if type(value) is type(choice) and value == choice:
                    return choice
        case ("any", _) | ("none", None) | ("str", str()) | ("bool", bool()):
            return value
        case ("int" | "float", bool()):
            pass
        case "int", int():
            return value
        case "float", int() | float():
            return float(value)
        case ("list", list()) | ("dict", dict()):
            return _inside(declared, value, _from_value)
        case "list", tuple():
            return _inside(declared, list(value), _from_value)
    raise _mismatch(declared, value)


def _first_fit(declared: Type, given: object, read: Any) -> object:
    reasons = []
    for member in sorted(declared.members, key=lambda member: _ORDER.index(member.kind)):
        try:
            return read(member, given)
        except MismatchError as error:
            reasons.append(str(error))
    raise MismatchError(" or ".join(dict.fromkeys(reasons)))


def _inside(declared: Type, given: Any, read: Any) -> object:
    """A list or mapping with every element read as the declared element type."""
    element = declared.args[-1]
    pairs: Iterable[tuple[object, object]]
    pairs = given.items() if isinstance(given, dict) else enumerate(given)
    values = {}
    for place, item in pairs:
        if isinstance(given, dict) and not isinstance(place, str):
            raise MismatchError(f"its key {place!r} is not text")
        try:
            values[place] = read(element, item)
        except MismatchError as error:
            raise MismatchError(
                f"its element {place!r} is {item!r}, not {element}: {error}"
            ) from error
    return values if isinstance(given, dict) else list(values.values())


def _untyped(tree: object) -> object:
    """What YAML makes of texts when nothing is declared."""
    if isinstance(tree, list):
        return [_untyped(item) for item in tree]
    if isinstance(tree, dict):
        return {key: _untyped(item) for key, item in tree.items()}
    try:
        return parse_yaml(str(tree))
    except ValueError as error:
        raise MismatchError(f"it is not valid YAML ({error})") from error


def _spelling(choice: object) -> str:
    if choice is None:
        return "null"
    return str(choice).lower() if isinstance(choice, bool) else str(choice)


def _mismatch(declared: Type, given: object) -> MismatchError:
    if declared.kind == "literal":
        names = [_spelling(choice) for choice in declared.choices]
        close = difflib.get_close_matches(str(given), names, n=1)
        hint = f"did you mean {close[0]!r}? Choose" if close else "choose"
        return MismatchError(f"{hint} from {', '.join(names)}")
    return MismatchError(_HINTS.get(declared.kind, f"write {declared}"))
