"""Records found in the modules of a package: to add one is to add a file, and to touch no list."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Discovered(Mapping[str, T]):
    """Records by name: what each module of a package calls ``attribute``, in the order of ranks.

    A record has a ``name``, which decides among equal ranks, and a ``rank``; a module may hold a
    tuple of them. Modules without the attribute are passed over. They are imported when the first
    record is asked for, so that a lower layer may name a package of a higher one whose data it
    works with.

    Args:
        read: what to return of a record; the record itself unless given.

    Raises:
        ValueError: two records of one name, when the first record is asked for.
    """

    def __init__(
        self, package: str, attribute: str, read: Callable[[Any], T] = lambda record: record
    ) -> None:
        self._package, self._attribute, self._read = package, attribute, read
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> T:
        return self._read(self._records[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def _records(self) -> dict[str, Any]:
        if not self._found:
            names = pkgutil.iter_modules(import_module(self._package).__path__)
            modules = [import_module(f"{self._package}.{found.name}") for found in names]
            held = [getattr(m, self._attribute) for m in modules if hasattr(m, self._attribute)]
            records = [r for one in held for r in (one if isinstance(one, tuple) else (one,))]
            records.sort(key=lambda record: (record.rank, record.name))
            found = {record.name: record for record in records}
            if len(found) < len(records):
                raise ValueError(f"two records of {self._package} have one name: {[*found]}")
            self._found = found
        return self._found


class DiscoveredNames(Collection[str]):
    """The names of the records of a package, most of them known without importing anything.

    A module that defines ``attribute`` and is called as its record answers for it by its file; of
    other names, and to list them, the records are asked.
    """

    def __init__(self, package: str, attribute: str) -> None:
        self._package, self._attribute = package, attribute
        self._records: Discovered[object] = Discovered(package, attribute)
        self._known: set[str] = set()

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if name not in self._known and (self._is_module(name) or name in self._records):
            self._known.add(name)
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def _is_module(self, name: str) -> bool:
        """Whether a module called ``name`` defines the attribute and holds the name in quotes."""
        spec = find_spec(self._package) if name.isidentifier() else None
        places = spec.submodule_search_locations if spec is not None else None
        files = (Path(place) / f"{name}.py" for place in places or ())
        sources = [file.read_text(encoding="utf-8") for file in files if file.is_file()]
        defines = re.compile(rf"^{self._attribute}\b[^=\n]*=", re.MULTILINE)
        quoted = re.compile(rf"([\"']){name}\1")
        return any(defines.search(source) and quoted.search(source) for source in sources)
