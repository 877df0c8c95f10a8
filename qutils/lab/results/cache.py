"""Computed units kept by content: what is still valid is reused, an interrupted run resumes."""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qutils.errors import DataError, InvalidInputError
from qutils.files import ROOT, atomic_path, sha256, write_text
from qutils.lab.results.publish import REPORT_DIR
from qutils.lab.results.reuse import Origin, Reuse, here, merged
from qutils.reading import read_json, typed

FOLDER = "QUTILS_CACHE"
REFRESH = "QUTILS_CACHE_REFRESH"


class CorruptCacheWarning(UserWarning):
    """An entry was damaged and is computed again."""


def default_folder() -> Path:
    """``$QUTILS_CACHE`` if set, else ``.cache/qutils`` of the checkout."""
    home = ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()
    return Path(os.environ.get(FOLDER) or home / ".cache" / "qutils")


def canonical(value: object) -> str:
    """One spelling for one JSON value: sorted keys, no spaces.

    Raises:
        InvalidInputError: the value is not JSON (NaN, a tensor, a path ...).
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"only finite JSON values can be cached: {error}") from error


def digest(text: str) -> str:
    """SHA-256 of a text as 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


class FullCacheWarning(UserWarning):
    """An entry could not be kept; the result itself is as good as any."""


class Cache:
    """Results by key: ``sha256(canonical(key))`` names the file that holds the value.

    Put into the key everything the value depends on: settings, checksums of data and weights,
    ``source_digest`` of the code. ``refresh`` computes everything anew (default: when
    ``$QUTILS_CACHE_REFRESH`` is set). Every entry also keeps when, by which commit and on which CPU
    it was computed; ``origins`` are those of the entries used again.
    """

    def __init__(self, folder: Path | None = None, refresh: bool | None = None) -> None:
        self.folder = Path(folder or default_folder())
        self.refresh = bool(os.environ.get(REFRESH)) if refresh is None else refresh
        self.hits = 0
        self.misses = 0
        self.origins: tuple[Origin, ...] = ()

    def get_or_compute(self, key: Mapping[str, object], compute: Callable[[], Any]) -> Any:
        """The value kept under ``key``, or else ``compute()``, which is kept from then on.

        Raises:
            InvalidInputError: key or value is not JSON.
        """
        name = digest(canonical(key))
        path = self._path(name, ".json")
        entry = self._entry(path)
        if entry is not None and _is_whole(entry):
            self._reused(entry)
            return entry["value"]
        if entry is not None:
            self._warn(path)
        self.misses += 1
        text = canonical(compute())
        value = json.loads(text)  # the first run sees what later ones will
        self._keep(path, {"key": key, "sha256": digest(text), "value": value})
        return value

    def peek(self, key: Mapping[str, object]) -> Any:
        """The value that ``get_or_compute`` would find under ``key``, or None; counts nothing."""
        entry = self._entry(self._path(digest(canonical(key)), ".json"))
        return entry["value"] if entry is not None and _is_whole(entry) else None

    def file(self, key: Mapping[str, object], suffix: str, produce: Callable[[Path], None]) -> Path:
        """Path of the file kept under ``key``, made by ``produce(path)`` if it is not there.

        A sidecar holds its checksum, compared at every use.

        Raises:
            InvalidInputError: the key is not JSON, ``suffix`` is not like ``.onnx``, or
                ``produce`` wrote nothing.
        """
        if not suffix.startswith(".") or "/" in suffix:
            raise InvalidInputError(f"suffix must be like '.onnx', got {suffix!r}")
        name = digest(canonical({"file": suffix, "key": key}))
        path, sidecar = self._path(name, suffix), self._path(name, f"{suffix}.json")
        entry = self._entry(sidecar)
        if entry is not None:
            if path.is_file() and entry.get("sha256") == sha256(path):
                self._reused(entry)
                return path
            self._warn(path)
        self.misses += 1
        try:
            with atomic_path(path) as temporary:
                self._produce(key, temporary, produce)
        except DataError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            self._warn_full(error)
            path = Path(tempfile.mkdtemp(prefix="qutils-")) / path.name
            atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
            self._produce(key, path, produce)
            return path
        self._keep(sidecar, {"key": key, "sha256": sha256(path), "bytes": path.stat().st_size})
        return path

    @staticmethod
    def _produce(key: Mapping[str, object], path: Path, produce: Callable[[Path], None]) -> None:
        produce(path)
        if not path.is_file() or not path.stat().st_size:
            raise InvalidInputError(f"nothing was written into the cache for {dict(key)}")

    def scratch(self, key: Mapping[str, object], suffix: str) -> Path:
        """Path for the unfinished work of ``key``; whoever writes there also removes it."""
        return self._path(digest(canonical({"scratch": suffix, "key": key})), suffix)

    @property
    def reuse(self) -> Reuse:
        """How much was reused and how much computed, as data."""
        return Reuse(self.hits, self.misses, self.origins)

    def count(self, reuse: Reuse) -> None:
        """Add what another process reused and computed with the same folder."""
        self.hits, self.misses = self.hits + reuse.reused, self.misses + reuse.computed
        self.origins = merged((*self.origins, *reuse.origins))

    def summary(self) -> str:
        """One line: how much was reused and how much computed."""
        return f"{self.reuse}; {self.misses} computed now; kept in {_short(self.folder)}"

    def announce(self) -> None:
        """Say ``summary()`` on stderr, which the runner passes on, and keep it with the report."""
        print(self.summary(), file=sys.stderr, flush=True)
        if folder := os.environ.get(REPORT_DIR):
            self.reuse.save(Path(folder))

    def _path(self, name: str, suffix: str) -> Path:
        return self.folder / name[:2] / f"{name}{suffix}"

    def _entry(self, path: Path) -> dict[str, Any] | None:
        """What stands in an entry: ``{}`` if it is damaged, ``None`` if it is not there."""
        if self.refresh or not path.is_file():
            return None
        try:
            entry = read_json(path, "Remove it")
        except DataError:
            return {}
        return entry if isinstance(entry, dict) else {}

    def _keep(self, path: Path, entry: Mapping[str, object]) -> None:
        whole = {**entry, "origin": asdict(here())}
        try:
            write_text(path, json.dumps(whole, indent=1, allow_nan=False) + "\n")
        except DataError as error:
            self._warn_full(error)

    def _warn_full(self, error: DataError) -> None:
        warnings.warn(
            f"a result is not kept for the next run: {error}", FullCacheWarning, stacklevel=3
        )

    def _reused(self, entry: Mapping[str, Any]) -> None:
        self.hits += 1
        try:
            self.origins = merged((*self.origins, typed(Origin, entry.get("origin"))))
        except ValueError:  # an entry of an earlier version, or its origin is damaged
            return

    def _warn(self, path: Path) -> None:
        warnings.warn(
            f"cache entry {path} is damaged; it is computed again",
            CorruptCacheWarning,
            stacklevel=3,
        )


def _is_whole(entry: Mapping[str, Any]) -> bool:
    """Return whether the value of an entry has its checksum."""
    try:
        return entry.get("sha256") == digest(canonical(entry["value"]))
    except (KeyError, InvalidInputError, RecursionError, UnicodeEncodeError):
        return False


def source_digest(*names: str) -> str:
    """SHA-256 over the source files of modules and packages, without importing them.

    >>> source_digest("qutils.files") == source_digest("qutils.files")
    True

    Raises:
        InvalidInputError: there is no such module, or it has no source.
    """
    total = hashlib.sha256()
    for name in sorted(set(names)):
        for place, path in _sources(name):
            total.update(f"{name}:{place}:{sha256(path)}\n".encode())
    return total.hexdigest()


def _sources(name: str) -> list[tuple[str, Path]]:
    """Place within the module and path of each source file, in a fixed order."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not (spec.origin or spec.submodule_search_locations):
        raise InvalidInputError(f"no module {name!r} whose source could be hashed")
    if spec.submodule_search_locations:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        return sorted((str(p.relative_to(f)), p) for f in folders for p in f.rglob("*.py"))
    return [("", Path(str(spec.origin)))]


def _short(path: Path) -> str:
    """Relative to the working folder if below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
