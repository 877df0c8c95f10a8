"""Inputs in tuples, lists and dicts: each tensor goes by the path to it, ``state_0``.

Nothing of torch is needed here: runtimes take arrays so, and load without it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from qutils.errors import InvalidInputError


class Flat(dict[str, Any]):
    """Tensors by flat name; ``given`` is the batch with its containers, as the model takes it."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__()
        self.given = dict(given)
        for name, leaf in _leaves("", self.given):
            if name in self:
                raise InvalidInputError(
                    f"Two inputs are called {name!r}: one by itself, one inside a container. "
                    "Rename one."
                )
            self[name] = leaf


def flat(batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tensors of a batch by flat name; the batch itself if it holds no containers.

    ``None`` is left out: an argument that has no value.

    >>> dict(flat({"x": 1, "state": (2, {"cell": 3, "old": None})}))
    {'x': 1, 'state_0': 2, 'state_1_cell': 3}
    """
    if isinstance(batch, Flat):
        return batch
    inside = (tuple, list, dict, type(None))
    return Flat(batch) if any(isinstance(x, inside) for x in batch.values()) else batch


def nested(named: Mapping[str, Any], arguments: Collection[str]) -> Mapping[str, Any]:
    """Return flat names in the containers that a function's arguments are: ``flat``'s inverse.

    Numbers in a name are places in a tuple, words are keys of a dict. Names that belong to no
    argument, or to one that is given itself, and numbers with a gap stay as they are.

    >>> nested({"x": 1, "state_0": 2, "state_1_cell": 3}, ["x", "state"]).given
    {'x': 1, 'state': (2, {'cell': 3})}
    """
    if isinstance(named, Flat) or all(name in arguments for name in named):
        return named
    tree: dict[str, Any] = {}
    for name, value in named.items():
        owners = [one for one in arguments if name.startswith(f"{one}_") and one not in named]
        if name in arguments or not owners:
            tree[name] = value
            continue
        owner = max(owners, key=len)
        place, parts = tree, [owner, *_parts(name.removeprefix(f"{owner}_"))]
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = value
    try:
        return Flat({name: _settled(value) for name, value in tree.items()})
    except KeyError:  # a gap
        return named


def arguments_of(model: Any, named: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return tensors by flat name as the arguments that ``model.forward`` takes."""
    if isinstance(named, Flat):
        return named.given
    parameters = _parameters(model)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return named
    found = nested(named, parameters)
    return found.given if isinstance(found, Flat) else named


def in_order(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments in the order in which ``model.forward`` takes them, others after them."""
    known = {name: arguments[name] for name in _parameters(model) if name in arguments}
    return known | dict(arguments)


def call_named(model: Any, named: Mapping[str, Any]) -> Any:
    """Return what a model makes of tensors by flat name."""
    return model(**arguments_of(model, named))


def _parameters(model: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(model.forward).parameters


def rebuilt(batch: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a batch with other values in the places of its tensors, by flat name.

    >>> rebuilt(flat({"x": 1, "state": (2, 3)}), {"x": 5, "state_0": 6, "state_1": 7})
    {'x': 5, 'state': (6, 7)}
    """
    if not isinstance(batch := flat(batch), Flat):
        return {name: values[name] for name in batch}
    found: dict[str, Any] = _mapped("", batch.given, values.__getitem__)
    return found


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor in containers with the path to it: ``state_1_cell``."""
    if isinstance(value, tuple | list | dict):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from _leaves(_joined(path, key), inner)
    elif value is not None:
        yield path, value


def _mapped(path: str, value: Any, of_name: Callable[[str], Any]) -> Any:
    """The same containers with another value in place of each tensor."""
    if isinstance(value, dict):
        made = {key: _mapped(_joined(path, key), x, of_name) for key, x in value.items()}
        return made if type(value) is dict else type(value)(made)
    if isinstance(value, tuple | list):
        items = [_mapped(_joined(path, i), x, of_name) for i, x in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return None if value is None else of_name(path)


def _joined(path: str, key: object) -> str:
    return f"{path}_{key}" if path else str(key)


def _parts(path: str) -> list[str]:
    """``1_cell`` -> 1, cell; what begins with a word is one key."""
    first, _, rest = path.partition("_")
    return [first, *_parts(rest)] if first.isdigit() and rest else [path]


def _settled(value: Any) -> Any:
    """Dicts that count from 0 as tuples.

    Raises:
        KeyError: they count with a gap.
    """
    if not isinstance(value, dict):
        return value
    made = {key: _settled(each) for key, each in value.items()}
    if not any(key.isdigit() for key in made):
        return made
    return tuple(made[str(place)] for place in range(len(made)))
