"""Options that give notebook parameters, shared by the commands that run notebooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from qutils.errors import InvalidInputError
from qutils.lab.runner.coercion import Text, yaml_texts
from qutils.reading import read_text


def parameter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-p``, ``-r``, ``-y`` and ``-f``, after papermill's."""
    pair: dict[str, Any] = {"nargs": 2, "multiple": True, "metavar": "NAME VALUE"}
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    options: list[Callable[..., Any]] = [
        click.option("-p", "typed", **pair, help="A parameter, read as its declared type."),
        click.option("-r", "raw", **pair, help="A parameter whose text is taken as it is."),
        click.option("-y", "inline", multiple=True, metavar="YAML", help="E.g. '{bits: [2, 4]}'."),
        click.option("-f", "files", multiple=True, type=file, help="YAML file of parameters."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def given_values(
    typed: Sequence[tuple[str, str]],
    raw: Sequence[tuple[str, str]],
    inline: Sequence[str],
    files: Sequence[Path],
) -> dict[str, object]:
    """Values by name; ``-p`` and ``-r`` win over ``-y``, and that over ``-f``.

    Raises:
        InvalidInputError: YAML that is not a mapping of names to values.
        DataError: a file is no text.
    """
    values: dict[str, object] = {}
    for path in files:
        values |= _mapping(read_text(path, "Write it as YAML in UTF-8"), f"file {path}")
    for source in inline:
        values |= _mapping(source, f"-y {source!r}")
    values |= {name: Text(value) for name, value in typed}
    return values | dict(raw)


def _mapping(source: str, where: str) -> dict[str, object]:
    try:
        tree = yaml_texts(source)
    except ValueError as error:
        raise InvalidInputError(f"{where} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise InvalidInputError(f"{where} must map names to values, as in '{{bits: [2, 4]}}'")
    return {str(name): Text(value) for name, value in tree.items()}
