"""The list of backends: the record ``BACKEND`` of each folder of this package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qutils.backends.backend import Backend
from qutils.discovery import Discovered

#: Every backend by name; command line, tables, figures and tests read it.
BACKENDS: Mapping[str, Backend] = Discovered("qutils.backends", "BACKEND")


def targets_of(path: str | Path) -> tuple[str, ...]:
    """Return the backends that write files that end as ``path`` does, the usual one first.

    >>> targets_of("net.tflite"), targets_of("net.txt")
    (('litert',), ())
    """
    return tuple(name for name, b in BACKENDS.items() if b.suffix == Path(path).suffix)


def readers_of(path: str | Path) -> tuple[str, ...]:
    """Return the backends whose runtimes open files that end as ``path`` does.

    >>> readers_of("net.xml")
    ('openvino',)
    """
    suffix = Path(path).suffix
    return tuple(n for n, b in BACKENDS.items() if suffix and suffix in (b.suffix, *b.also_reads))
