"""Where files live, whether they are intact, and how results are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qutils.errors import DataError

ROOT = Path(__file__).resolve().parent.parent
#: Temporary names of ``atomic_path``: the process that writes, then letters of ``mkstemp``.
_TEMPORARY = re.compile(r"\.tmp-(?:(\d+)-)?\w+(\.\w+)*")
#: Age at which a temporary name without a living process is removed [s].
_ABANDONED = 3600
_collected: set[Path] = set()
_written: set[tuple[int, int, int, int]] = set()


def data_dir() -> Path:
    """Folder of shipped data: ``$QUTILS_DATA`` if set, else ``data/`` of the checkout."""
    return Path(os.environ.get("QUTILS_DATA", ROOT / "data"))


def sha256(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def verified(path: Path, expected: str) -> Path:
    """Return ``path`` if its SHA-256 is ``expected``.

    Raises:
        DataError: the file is missing, truncated or changed; names both checksums.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing. Restore it with: git checkout -- {path}")
    actual = sha256(path)
    if actual != expected:
        raise DataError(
            f"{path} is corrupt or truncated ({path.stat().st_size:,} bytes): SHA-256 is {actual}, "
            f"expected {expected}. Restore it with: git checkout -- {path}"
        )
    return path


def checksums(folder: Path) -> dict[str, str]:
    """Read ``SHA256SUMS`` of a folder (the format of ``sha256sum``): file name -> hex digest.

    Raises:
        DataError: the listing is missing or is not one of ``sha256sum``.
    """
    listing = folder / "SHA256SUMS"
    if not listing.is_file():
        raise DataError(f"{listing} is missing. Restore it with: git checkout -- {listing}")
    rows = [line.split() for line in listing.read_text(errors="replace").splitlines() if line]
    if any(len(row) != 2 for row in rows):
        raise DataError(
            f"{listing} does not hold lines of the form 'SHA-256  file name'. "
            f"Restore it with: git checkout -- {listing}"
        )
    return {name.removeprefix("*"): digest for digest, name in rows}


def intact(path: Path) -> Path:
    """Return ``path`` if ``SHA256SUMS`` of its folder lists it and the checksum holds.

    Raises:
        DataError: the file is missing, truncated, changed or not listed.
    """
    digests = checksums(path.parent)
    if path.name not in digests:
        raise DataError(
            f"{path.parent / 'SHA256SUMS'} holds no checksum of {path.name}. "
            f"Restore it with: git checkout -- {path.parent}"
        )
    return verified(path, digests[path.name])


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it only if the block succeeds.

    Raises:
        DataError: the folder cannot be written (read-only, full); names the mend.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _collect(path.parent)
        prefix = f".tmp-{os.getpid()}-"
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise DataError(
            f"cannot write into {path.parent}: {error.strerror or error}. "
            f"Choose another folder, or make this one writable and give it room."
        ) from error
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        _written.add(_identity(path))
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}. What was there before is intact."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def written_here(path: Path) -> bool:
    """Return whether this process wrote a file with ``atomic_path``, unchanged since."""
    return path.is_file() and _identity(path) in _written


def _identity(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _collect(folder: Path) -> None:
    """Remove temporary names that killed runs left in a folder; once for a folder and process."""
    if folder in _collected:
        return
    _collected.add(folder)
    for left in folder.glob(".tmp-*"):
        name = _TEMPORARY.fullmatch(left.name)
        try:
            if name and time.time() - left.stat().st_mtime > _ABANDONED and not _alive(name[1]):
                left.unlink()
        except OSError:  # another process was faster, or it is a folder
            continue


def _alive(process: str | None) -> bool:
    """Return whether a process is at work, as far as this machine knows."""
    if process is None:
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
