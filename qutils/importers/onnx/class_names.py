"""The names of a network's outputs, where an ONNX file or a module says them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from onnx import ModelProto

#: Entries of a file's metadata that hold them: exporters of Ultralytics write ``names``.
KEYS = ("names", "class_names", "classes")


def class_names(model: ModelProto) -> tuple[str, ...] | None:
    """Return the class names in a file's metadata, ``{0: 'cat', 1: 'dog'}`` or a list; or None.

    The text is read as a literal, nothing in it is executed.
    """
    found = {entry.key: entry.value for entry in model.metadata_props}
    for key in KEYS:
        try:
            names = names_in_order(ast.literal_eval(found.get(key, "")))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if names is not None:
            return names
    return None


def names_in_order(names: Any) -> tuple[str, ...] | None:
    """Return names as a tuple, if they are a list of texts, or texts by number from 0 on.

    >>> names_in_order({"1": "dog", "0": "cat"}), names_in_order({3: "cat"})
    (('cat', 'dog'), None)
    """
    if isinstance(names, Mapping):
        by_number = {str(number): name for number, name in names.items()}
        names = [by_number.get(str(number)) for number in range(len(names))]
    if not isinstance(names, list | tuple) or not names:
        return None
    return tuple(names) if all(isinstance(name, str) for name in names) else None
