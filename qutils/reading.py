"""The one way in for files: bounded in size, and one error for whatever a parser raises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from qutils.errors import DataError, QutilsError

#: Bytes of the largest text file (JSON, YAML, notebook, labels) that is read: 256 MB.
MOST_TEXT = 256 << 20
#: Values of the largest YAML file, repeated anchors counted as often as they are used.
MOST_VALUES = 1_000_000
#: Bytes that a byte of a ZIP file can hold (deflate: 1,032).
EXPANSION = 1_032
#: Exceptions that say nothing about a file.
_NOT_OURS = (KeyboardInterrupt, SystemExit, GeneratorExit)
#: Messages are cut here: some parsers quote the whole file.
_LONGEST = 300


@contextmanager
def reading(
    path: Path,
    fix: str,
    what: str = "corrupt or truncated",
    most: int | None = None,
    error: type[QutilsError] = DataError,
) -> Iterator[None]:
    """Turn whatever a parser raises inside of the block into one error with path and cause.

    Errors of our own pass unchanged.

    Args:
        fix: a sentence without its full stop that says what to do.
        what: what the file then is, after "is".
        most: size limit [bytes], checked before the block runs.
        error: class of the error.

    Raises:
        DataError: the file is missing, larger than ``most``, or the block raised.
    """
    path = Path(path)
    try:
        _check_size(path, most)
        yield
    except (QutilsError, *_NOT_OURS):
        raise
    except BaseException as caught:  # the panics of Rust libraries are no ``Exception``
        raise error(f"{path} is {what}{_size(path)}: {cause(caught)}. {fix}.") from caught


def cause(error: BaseException) -> str:
    """Return in one line why a parser failed.

    >>> cause(KeyError("rows")), cause(ValueError())
    ("'rows' is missing", 'ValueError')
    """
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, UnicodeDecodeError):
        return f"it is no UTF-8 text (byte {error.start:,})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError) and error.args:
        return f"{str(error.args[0])[:_LONGEST]!r} is missing"
    said = " ".join(str(error).split()).rstrip(".: ")
    return said[:_LONGEST] or type(error).__name__


def read_text(path: Path, fix: str, encoding: str = "utf-8") -> str:
    """Return a text file of at most ``MOST_TEXT`` bytes.

    Raises:
        DataError: the file is missing, too large or no UTF-8 text.
    """
    with reading(path, fix, "not readable", MOST_TEXT):
        return Path(path).read_text(encoding=encoding)


def read_json(path: Path, fix: str, what: str = "not JSON") -> Any:
    """Return the document of a JSON file.

    Raises:
        DataError: the file is missing, too large, or no JSON.
    """
    with reading(path, fix, what, MOST_TEXT):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def typed(kind: Any, plain: Any) -> Any:
    """Return the dataclass that a JSON mapping denotes, if every value is of its declared type.

    Raises:
        ValueError: a value is missing or of another type; ``"3"`` is no number.
    """
    import pydantic  # a tenth of a second, which runtimes need not wait for

    try:
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(plain), strict=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}") from error


def parse_yaml(text: str, loader: Any = yaml.SafeLoader) -> Any:
    """Return the document of a YAML text.

    Raises:
        ValueError: no YAML, nested too deeply, or of more than ``MOST_VALUES`` values, as a few
            anchors that repeat each other can be.
    """
    try:
        tree = yaml.load(text, Loader=loader)
    except Exception as error:  # dates that do not exist raise ValueError, and so on
        raise ValueError(cause(error)) from error
    count, left = 0, [tree]
    while left:
        count += 1
        if count > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES:,} values, or holds itself")
        node = left.pop()
        left += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return tree


def _check_size(path: Path, most: int | None) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing. Correct the path.")
    if most is not None and (size := path.stat().st_size) > most:
        raise DataError(f"{path} has {size:,} bytes, more than the {most:,} that are read.")


def _size(path: Path) -> str:
    try:
        return f" ({path.stat().st_size:,} bytes)"
    except OSError:
        return ""
