"""Dotted paths of modules and tensors inside a module."""

from __future__ import annotations

import keyword

from torch import nn

_TAKEN = frozenset(dir(nn.Module())) | frozenset(keyword.kwlist)


def free_path(root: nn.Module, path: str) -> str:
    """Return the path, with a number or ``_`` added where something else has a part of it.

    >>> root = nn.Module()
    >>> put(root, free_path(root, "a.b"), nn.Identity())
    >>> free_path(root, "a.b"), free_path(root, "a.type")
    ('a.b_2', 'a.type_')
    """
    *parents, leaf = (f"{part}_" if part in _TAKEN else part for part in path.split("."))
    owner: object = root
    found: list[str] = []
    for part in parents:
        child = getattr(owner, part, None)
        while child is not None and not isinstance(child, nn.Module):
            part += "_"
            child = getattr(owner, part, None)
        found.append(part)
        owner = child
    name, count = leaf, 2
    while owner is not None and hasattr(owner, name):
        name, count = f"{leaf}_{count}", count + 1
    return ".".join([*found, name])


def owner_of(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Return the module that holds a path, made where it is missing, and the path's last part."""
    *parents, leaf = path.split(".")
    owner = root
    for part in parents:
        if not hasattr(owner, part):
            owner.add_module(part, nn.Module())
        owner = getattr(owner, part)
    return owner, leaf


def put(root: nn.Module, path: str, module: nn.Module) -> None:
    """Add a module at a path."""
    owner, leaf = owner_of(root, path)
    owner.add_module(leaf, module)
