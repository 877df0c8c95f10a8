"""How many results a report took from the cache, and where and when those were computed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from qutils.files import ROOT, write_text
from qutils.lab.results import provenance
from qutils.lab.runner.status import RERUN
from qutils.reading import read_json, reading, typed

FILE = "reuse.json"


@dataclass(frozen=True)
class Origin:
    """Code and machine that computed kept results, ``first`` to ``last`` (UTC, ISO 8601)."""

    first: str
    last: str
    commit: str | None
    cpu: str

    def __str__(self) -> str:
        days = dict.fromkeys((self.first[:10], self.last[:10]))
        commit = f"at {self.commit[:10]}" if self.commit else "without a commit"
        return f"{' to '.join(days)} {commit} on {self.cpu}"


def here() -> Origin:
    """The origin of what this process computes now."""
    moment = provenance.now()
    return Origin(moment, moment, *_code_and_machine())


@lru_cache(maxsize=1)
def _code_and_machine() -> tuple[str | None, str]:
    return provenance.git_state(ROOT)[0], provenance.cpu_model()


def merged(origins: Iterable[Origin]) -> tuple[Origin, ...]:
    """One origin for each commit and machine, spanning all their moments; the oldest first."""
    found: dict[tuple[str | None, str], Origin] = {}
    for origin in origins:
        known = found.setdefault((origin.commit, origin.cpu), origin)
        found[origin.commit, origin.cpu] = replace(
            known, first=min(known.first, origin.first), last=max(known.last, origin.last)
        )
    return tuple(sorted(found.values(), key=lambda o: (o.first, o.commit or "", o.cpu)))


@dataclass(frozen=True)
class Reuse:
    """How many results were kept ones, how many computed; ``origins`` are those of the kept."""

    reused: int
    computed: int
    origins: tuple[Origin, ...] = ()

    @property
    def total(self) -> int:
        """All results that could have been in the cache."""
        return self.reused + self.computed

    def __str__(self) -> str:
        made = "; ".join(map(str, self.origins))
        return f"{self.reused} of {self.total} results reused" + (f", computed {made}" * bool(made))

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Reuse:
        """What ``asdict`` made of one; without ``origins``, they are not known."""
        origins = tuple(typed(Origin, origin) for origin in plain.get("origins", []))
        return cls(int(plain["reused"]), int(plain["computed"]), origins)

    def save(self, folder: Path) -> None:
        """Write ``reuse.json`` into the folder of a report, atomically."""
        write_text(folder / FILE, json.dumps({"schema": 1, **asdict(self)}, indent=1) + "\n")


def together(reuses: Iterable[Reuse]) -> Reuse:
    """Several reports as one.

    >>> print(together([Reuse(1, 2), Reuse(3, 0)]))
    4 of 6 results reused
    """
    kept = tuple(reuses)
    origins = merged(origin for reuse in kept for origin in reuse.origins)
    return Reuse(sum(r.reused for r in kept), sum(r.computed for r in kept), origins)


def load_reuse(folder: Path) -> Reuse | None:
    """What ``save`` wrote into the folder of a report; None if it keeps nothing in the cache.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    with reading(path, RERUN, "damaged"):
        return Reuse.from_json(read_json(path, RERUN, "damaged"))
