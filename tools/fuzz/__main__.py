"""Run the fuzzer: a child process for each reader, begun anew where one crashes."""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HANG_SECONDS = 30
START_SECONDS = 180
MOST_MB = 3072  # a child is ended there, before the machine is short of memory


def resident_mb(pid: int) -> float:
    """Resident memory of a process [MB]; 0 where it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Child:
    """A worker, and the lines that it says."""

    def __init__(self, reader: str, seed: str, start: int, keep: Path) -> None:
        command = [sys.executable, "-m", "tools.fuzz.worker", reader, seed, str(start), str(keep)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert self.process.stdout is not None
        self._fd = self.process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._fd, selectors.EVENT_READ)
        self._kept = b""

    def line(self, seconds: float) -> dict[str, object]:
        """The next line; ``{"outcome": ...}`` of a child that hangs, crashes or eats memory."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._kept:
            if resident_mb(self.process.pid) > MOST_MB:
                return {"outcome": "memory", "why": f"above {MOST_MB} MB", "dead": True}
            if time.monotonic() > deadline:
                return {"outcome": "hang", "why": f"{seconds:.0f} s", "dead": True}
            if self._selector.select(0.05):
                block = os.read(self._fd, 1 << 16)
                if not block:
                    code = self.process.wait()
                    why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                    return {"outcome": "crash", "why": why, "dead": True}
                self._kept += block
        line, _, self._kept = self._kept.partition(b"\n")
        found: dict[str, object] = json.loads(line)
        return found

    def end(self) -> None:
        """End the process and what it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


def fuzz(reader: str, seed: str, seconds: float, most: int, keep: Path | None) -> Counter[str]:
    """Feed one reader for a while, or until so many inputs; print what is no clean outcome."""
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    number = 0
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "input"
        child: Child | None = None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and number < most:
            if child is None:
                begun = time.monotonic()
                child = Child(reader, seed, number, kept)
                if "ready" not in (said := child.line(START_SECONDS)):
                    child.end()
                    raise SystemExit(f"{reader}: the valid inputs cannot be read: {said}")
                if not counts:
                    deadline += time.monotonic() - begun  # imports are not counted
            begin = child.line(START_SECONDS)
            found = begin if begin.get("dead") else child.line(HANG_SECONDS)
            outcome, why = str(found["outcome"]), str(found.get("why", ""))
            counts[outcome] += 1
            if outcome not in ("read", "refused"):
                kind = f"{outcome} {why}"
                kinds[kind] += 1
                if kinds[kind] <= 1:
                    print(f"  {reader} #{number}: {kind} {found.get('said', '')}", flush=True)
                if keep is not None and kinds[kind] <= 3 and kept.is_file():
                    keep.mkdir(parents=True, exist_ok=True)
                    name = f"{reader}-{number}{begin.get('suffix', '')}"
                    (keep / name).write_bytes(kept.read_bytes())
            number += 1
            if found.get("dead"):
                child.end()
                child = None
        if child is not None:
            child.end()
    return counts


def main() -> int:
    """Fuzz; the exit code is 1 if anything but a success or an error of ours came out."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="for all readers together")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--reader", action="append", help="one reader; may be given repeatedly")
    parser.add_argument("--most", type=int, default=1 << 30, help="inputs of each reader")
    parser.add_argument("--keep", type=Path, help="folder for inputs that fail")
    given = parser.parse_args()
    from tools.fuzz.readers import READERS

    names = given.reader or list(READERS)
    if unknown := [name for name in names if name not in READERS]:
        parser.error(f"unknown reader {unknown[0]!r}: choose from {', '.join(READERS)}")
    total: Counter[str] = Counter()
    columns = ("read", "refused", "traceback", "crash", "hang", "memory")
    print(f"{'reader':14}{'inputs':>9}" + "".join(f"{name:>11}" for name in columns))
    for name in names:
        counts = fuzz(name, given.seed, given.seconds / len(names), given.most, given.keep)
        cells = "".join(f"{counts[column]:>11,}" for column in columns)
        print(f"{name:14}{counts.total():>9,}{cells}", flush=True)
        total += counts
    bad = total.total() - total["read"] - total["refused"]
    print(f"{total.total():,} inputs, {bad:,} failures (seed {given.seed})")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
