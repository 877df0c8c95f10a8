"""What the parts of ``.ci/run`` took, in multiples of the reference workload, and their budgets.

``.ci/budgets.toml`` holds the budgets. ``.ci/run`` keeps seconds in the file that
``$QUTILS_DURATIONS`` names: ``{"reference": {"seconds": 15.2}, "steps": {"lint": 20.1}, ...}``.
On the command line: ``budgets.py keep TABLE NAME SECONDS``, ``budgets.py merge TABLE FILE`` for a
JSON file of seconds by name, and ``budgets.py reference`` to run the workload.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / ".ci" / "budgets.toml"
#: Environment variable that names the file of seconds.
DURATIONS = "QUTILS_DURATIONS"


def budgets() -> dict[str, dict[str, float]]:
    """Return the budgets by table and name, in multiples of the reference workload."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def folder_of(path: str) -> str:
    """Return the folder that a test file counts for: a room of ``tests/unit``, or one of its lab.

    >>> folder_of("tests/unit/backends/litert/test_x.py"), folder_of("tests/unit/test_x.py")
    ('tests/unit/backends', 'tests/unit')
    >>> folder_of("tests/unit/lab/figures/explorers/test_x.py")
    'tests/unit/lab/figures'
    >>> folder_of("qutils/numerics/affine.py")
    'qutils'
    """
    parts = path.split("/")
    depth = 4 if parts[2:3] == ["lab"] else 3
    return parts[0] if parts[0] != "tests" else "/".join(parts[: min(depth, len(parts) - 1)])


def by_folder(seconds: Mapping[str, float]) -> dict[str, float]:
    """Sum the seconds of test files by folder, the slowest first."""
    found: dict[str, float] = defaultdict(float)
    for path, took in seconds.items():
        found[folder_of(path)] += took
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def read(path: Path) -> dict[str, dict[str, float]]:
    """Return the seconds kept so far by table and name; nothing if there is no file."""
    if not path.is_file():
        return {}
    found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def keep(path: Path, table: str, seconds: Mapping[str, float]) -> None:
    """Add seconds by name to a table of the file."""
    found = read(path)
    found.setdefault(table, {}).update({name: round(took, 1) for name, took in seconds.items()})
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def report(path: Path) -> Iterator[str]:
    """Yield lines for a reader: the machine's reference, the slowest parts, those over budget."""
    found = read(path)
    reference = found.get("reference", {}).get("seconds")
    if reference is None:
        yield "no reference workload was measured: nothing to compare with"
        return
    yield f"reference workload: {reference:.1f} s"
    for table in ("steps", "notebooks", "tests"):
        slowest = sorted(found.get(table, {}).items(), key=lambda item: -item[1])[:10]
        shown = ", ".join(f"{n} {s:.0f} s ({s / reference:.1f})" for n, s in slowest)
        yield f"{table}: {shown}"
    late = list(over(found, reference))
    yield from (f"OVER BUDGET: {line}" for line in late)
    if not late:
        yield "every part is within its budget"


def over(found: Mapping[str, Mapping[str, float]], reference: float) -> Iterator[str]:
    """Yield a line for each part that took more multiples of ``reference`` than it may."""
    for table, allowed in budgets().items():
        for name, seconds in found.get(table, {}).items():
            multiple, limit = seconds / reference, allowed.get(name)
            if limit is not None and multiple > limit:
                took = f"{seconds:.0f} s, {multiple:.1f} reference workloads"
                yield f"{name}: {took}, {limit:g} allowed"


def main(words: list[str]) -> None:
    """Keep seconds, or run the reference workload and keep its."""
    path = Path(os.environ[DURATIONS])
    match words:
        case ["keep", table, name, seconds]:
            keep(path, table, {name: float(seconds)})
        case ["merge", table, file]:
            keep(path, table, json.loads(Path(file).read_text(encoding="utf-8")))
        case ["reference"]:
            sys.path.insert(0, str(ROOT))
            from qutils.evaluate.bench.reference import reference_workload

            found = reference_workload()
            keep(path, "reference", {"seconds": found.seconds})
            print(f"reference workload: {found}")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
