"""Inputs in tuples, lists and dicts: each tensor goes by the path to it, ``state_0``."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch.utils import _pytree as pytree

from qutils.errors import InvalidInputError


class Flat(dict[str, Any]):
    """Tensors by flat name; ``given`` is the batch with its containers, as the model takes it."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__()
        self.given = given
        for path, leaf in pytree.tree_flatten_with_path(dict(given))[0]:
            name = _name(path)
            if leaf is None:  # an argument that keeps its default
                continue
            if name in self:
                raise InvalidInputError(
                    f"Two inputs are called {name!r}: one by itself, one inside a container. "
                    "Rename one."
                )
            self[name] = leaf


def flat(batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tensors of a batch by flat name; the batch itself if it holds no containers.

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
    argument stay as they are.

    >>> nested({"x": 1, "state_0": 2, "state_1_cell": 3}, ["x", "state"]).given
    {'x': 1, 'state': (2, {'cell': 3})}
    """
    if isinstance(named, Flat) or all(name in arguments for name in named):
        return named
    tree: dict[str, Any] = {}
    for name, value in named.items():
        owners = [one for one in arguments if name.startswith(f"{one}_")]
        if name in arguments or not owners:
            tree[name] = value
            continue
        owner = max(owners, key=len)
        place, parts = tree, [owner, *_parts(name.removeprefix(f"{owner}_"))]
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = value
    return Flat({name: _settled(value) for name, value in tree.items()})


def arguments_of(model: Any, named: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return tensors by flat name as the arguments that ``model.forward`` takes."""
    if isinstance(named, Flat):
        return named.given
    parameters = inspect.signature(model.forward).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return named
    found = nested(named, parameters)
    return found.given if isinstance(found, Flat) else named


def call_named(model: Any, named: Mapping[str, Any]) -> Any:
    """Return what a model makes of tensors by flat name."""
    return model(**arguments_of(model, named))


def _parts(path: str) -> list[str]:
    """``1_cell`` -> 1, cell; what begins with a word is one key."""
    first, _, rest = path.partition("_")
    return [first, *_parts(rest)] if first.isdigit() and rest else [path]


def _settled(value: Any) -> Any:
    """Dicts that count from 0 as tuples."""
    if not isinstance(value, dict):
        return value
    made = {key: _settled(each) for key, each in value.items()}
    places = [str(place) for place in range(len(made))]
    return tuple(made[place] for place in places) if sorted(made) == sorted(places) else made


def rebuilt(batch: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a batch with other values in the places of its tensors, by flat name.

    >>> rebuilt(flat({"x": 1, "state": (2, 3)}), {"x": 5, "state_0": 6, "state_1": 7})
    {'x': 5, 'state': (6, 7)}
    """
    if not isinstance(batch := flat(batch), Flat):
        return {name: values[name] for name in batch}
    made: dict[str, Any] = pytree.tree_map_with_path(
        lambda path, leaf: None if leaf is None else values[_name(path)], dict(batch.given)
    )
    return made


def _name(path: Iterable[Any]) -> str:
    """``['state'][1]['cell']`` -> ``state_1_cell``."""
    return "_".join(str(key).strip("[].'\"") for key in path)
