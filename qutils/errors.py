"""The errors users meet: each message names the cause and the mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

#: Names that an error lists; a network has hundreds of modules.
LISTED = 24


class QutilsError(Exception):
    """Base of every error raised on purpose by ``qutils``."""


class InvalidInputError(QutilsError, ValueError):
    """A value the caller gave cannot be used (bits out of range, empty calibration set, NaN)."""


class DataError(QutilsError):
    """A file is missing, truncated, corrupt or does not match its checksum."""


class UnsupportedError(QutilsError):
    """A model, operator or setting lies outside what the chosen target can do."""


class MissingPackageError(QutilsError, ImportError):
    """An optional package is not installed; the message names the command that installs it."""


def not_installed(
    package: str, command: str, error: ImportError | None = None
) -> MissingPackageError:
    """The error for an optional package: names the command that installs it.

    >>> print(not_installed("nncf", "pip install -e '.[peers]'"))
    nncf is not installed. Install it with: pip install -e '.[peers]'
    """
    why = f" ({error})" if error else ""
    return MissingPackageError(f"{package} is not installed{why}. Install it with: {command}")


def known_names(kind: str, names: Iterable[str], choices: Iterable[str]) -> tuple[str, ...]:
    """The names without repeats, if there are any and all of them are among the choices.

    >>> known_names("model", ["resnet8", "resnet8"], ["resnet8", "mobilenetv2"])
    ('resnet8',)

    Raises:
        InvalidInputError: no name, or an unknown one (see ``unknown_name``).
    """
    found, allowed = tuple(dict.fromkeys(names)), list(choices)
    if not found:
        raise InvalidInputError(f"name at least one {kind}")
    for name in found:
        if name not in allowed:
            raise unknown_name(kind, name, allowed)
    return found


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> InvalidInputError:
    """The error for a name that is in no registry: suggests the closest, lists the first others.

    >>> print(unknown_name("model", "resnet9", ["resnet8", "mobilenetv2"]))
    unknown model 'resnet9': did you mean 'resnet8'? Choose from resnet8, mobilenetv2
    """
    names = list(choices)
    close = get_close_matches(str(name), names, n=1)
    hint = f": did you mean {close[0]!r}? Choose" if close else ": choose"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return InvalidInputError(
        f"unknown {kind} {name!r}{hint} from {', '.join(names[:LISTED])}{more}"
    )
