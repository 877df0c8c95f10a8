"""Check that the tests catch the small faults of ``tools/mutations.toml``.

A fault replaces a text that occurs once in its file and names the tests that have to fail. Faults
are applied one at a time to a copy of the checkout; the checkout itself is never changed.
``.venv/bin/python tools/mutations.py --only 3 7`` checks two of them. The exit code is 0 if every
fault was caught, 1 if one survived, and 2 if there is no verdict.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "tools" / "mutations.toml"
PYTEST = ("-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider")
#: Seconds after which a run of pytest is stopped.
TIMEOUT = 300.0
#: Exit codes of pytest.
PASSED, FAILED = 0, 1
#: Variables that would make the tests in the copy write outside it, or run with other options.
DROPPED = ("QUTILS_DURATIONS", "QUTILS_NIGHTLY", "QUTILS_CORE", "PYTEST_ADDOPTS")


class NoVerdictError(Exception):
    """The check cannot say whether a fault is caught."""


@dataclass(frozen=True)
class Fault:
    """One fault: ``file`` holds ``old`` once, ``new`` is wrong, and ``tests`` have to notice."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Run:
    """One run of pytest: its exit code, its output and its duration in seconds."""

    code: int
    output: str
    seconds: float

    @property
    def failed(self) -> str:
        """The node id of the first failing test, or an empty string."""
        lines = [line for line in self.output.splitlines() if line.startswith("FAILED ")]
        return lines[0].removeprefix("FAILED ").split(" - ")[0] if lines else ""


def faults() -> list[Fault]:
    """Return the faults of ``tools/mutations.toml`` in the order of the file."""
    entries = tomllib.loads(FILE.read_text(encoding="utf-8"))["fault"]
    return [Fault(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def copy_checkout(target: Path) -> None:
    """Copy the files that git tracks or would track to ``target``, as they are on disk."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # not one that was deleted and is still tracked
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


@contextmanager
def applied(fault: Fault, folder: Path) -> Iterator[None]:
    """Apply a fault to the copy in ``folder``; restore the file on leaving.

    Raises:
        NoVerdictError: the text to replace does not occur exactly once.
    """
    path = folder / fault.file
    text = path.read_text(encoding="utf-8")
    if (found := text.count(fault.old)) != 1:
        raise NoVerdictError(
            f"Expected the text {fault.old!r} once in {fault.file}, got {found} occurrences. "
            f"Correct the fault in {FILE.name}."
        )
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def python(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in ``folder`` so that it imports the packages that lie there.

    No bytecode is written: a fault may have the size and the second of the text it replaces, and
    Python would then take the old bytecode for current.
    """
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    environment = {**kept, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command, pipe, both = [sys.executable, *arguments], subprocess.PIPE, subprocess.STDOUT
    return subprocess.run(
        command, cwd=folder, env=environment, timeout=TIMEOUT, text=True, stdout=pipe, stderr=both
    )


def require_copy(folder: Path) -> None:
    """Raise unless the tests in ``folder`` import the package of ``folder``.

    The virtual environment has an editable install of the checkout, which must not win.

    Raises:
        NoVerdictError: ``qutils`` comes from another folder.
    """
    found = python(("-c", "import qutils; print(qutils.__file__)"), folder).stdout.strip()
    expected = folder / "qutils" / "__init__.py"
    if Path(found) != expected:
        raise NoVerdictError(f"Expected qutils to be imported from {expected}, got {found}.")


def run_tests(tests: Sequence[str], folder: Path) -> Run:
    """Run tests in the copy in ``folder`` until the first one fails."""
    start = time.monotonic()
    try:
        done = python((*PYTEST, *tests), folder)
        code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        code, output = -1, f"stopped after {TIMEOUT:.0f} s"
    return Run(code, output, time.monotonic() - start)


def check(numbered: Sequence[tuple[int, Fault]], jobs: int) -> int:
    """Apply each fault in a copy of the checkout and print its verdict; return the survivors.

    Raises:
        NoVerdictError: the tests fail without a fault, or they cannot be run with one.
    """
    folders: SimpleQueue[Path] = SimpleQueue()

    def verdict(item: tuple[int, Fault]) -> bool:
        number, fault = item
        folder = folders.get()
        try:
            with applied(fault, folder):
                run = run_tests(fault.tests, folder)
        finally:
            folders.put(folder)
        if run.code not in (PASSED, FAILED):
            raise NoVerdictError(f"pytest ended with {run.code} on fault {number}:\n{run.output}")
        said = f"caught by {run.failed}" if run.code == FAILED else f"SURVIVED: {fault.why}"
        print(f"{number:>2} {fault.file}: {said} ({run.seconds:.1f} s)", flush=True)
        return run.code == PASSED

    with tempfile.TemporaryDirectory(prefix="mutations-") as temporary:
        for job in range(jobs):
            folder = Path(temporary).resolve() / str(job)
            copy_checkout(folder)
            require_copy(folder)
            folders.put(folder)
        named = list(dict.fromkeys(test for _, fault in numbered for test in fault.tests))
        clean = run_tests(named, folder)
        if clean.code != PASSED:
            raise NoVerdictError(f"The tests fail without a fault:\n{clean.output}")
        print(f"no fault: the tests pass ({clean.seconds:.1f} s)", flush=True)
        with ThreadPoolExecutor(jobs) as pool:
            return sum(pool.map(verdict, numbered))


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the chosen faults, print a summary and return the exit code."""
    parser = argparse.ArgumentParser(description="Check that the tests catch known faults.")
    listed = dict(enumerate(faults(), start=1))
    parser.add_argument("--only", type=int, nargs="+", metavar="N", choices=listed, default=listed)
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=1)
    options = parser.parse_args(arguments)
    start = time.monotonic()
    try:
        survived = check([(number, listed[number]) for number in options.only], options.jobs)
    except NoVerdictError as error:
        print(error, file=sys.stderr)
        return 2
    total, seconds = len(options.only), time.monotonic() - start
    print(f"{total - survived} of {total} faults caught, {survived} survived, {seconds:.0f} s")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
