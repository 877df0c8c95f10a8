"""One child process of the fuzzer: read damaged inputs one after another, report how each ended."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from tools.fuzz.damage import KINDS

LIMIT_MB = 2048


def damaged(data: bytes, kind: str, seed: str) -> bytes:
    """The input of a seed; one of gzip is damaged inside, or outside."""
    rng = random.Random(seed)
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.7:
        return gzip.compress(damaged(gzip.decompress(data), kind, seed + "in"), mtime=0)
    found = rng.choice(KINDS[kind])(data, rng)
    return found if rng.random() < 0.8 or not found else rng.choice(KINDS["bytes"])(found, rng)


def peak_mb() -> float:
    """Peak of this process since it was last reset [MB]."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


def read_one(reader: object, path: Path) -> dict[str, object]:
    """Read one file: how it ended, and where and why where it did not end well."""
    from qutils.errors import QutilsError

    Path("/proc/self/clear_refs").write_text("5")
    try:
        reader.read(path)  # type: ignore[attr-defined]
        outcome: dict[str, object] = {"outcome": "read"}
    except QutilsError:
        outcome = {"outcome": "refused"}
    except BaseException as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/qutils/" in f.filename]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        said = " ".join(str(error).split())[:100]
        kind = f"{where} {type(error).__name__}"
        outcome = {"outcome": "traceback", "why": kind, "said": said}
    if (peak := peak_mb()) > LIMIT_MB:
        return {"outcome": "memory", "why": f"{peak:,.0f} MB"}
    return outcome


def main(name: str, seed: str, start: int, keep: str) -> None:
    """Read inputs ``start``, ``start + 1`` ... until the parent ends this process."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from tools.fuzz.readers import READERS

    reader = READERS[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seeds = [(path, path.read_bytes()) for path in reader.seeds(folder)]
        for path, _ in seeds:
            reader.read(path)  # valid files are read, and what is needed is imported
        os.dup2(nowhere, 2)
        answers.write(json.dumps({"ready": len(seeds)}) + "\n")
        number = start
        while True:
            path, data = seeds[number % len(seeds)]
            content = damaged(data, reader.kind, f"{seed}:{name}:{number}")
            path.write_bytes(content)
            Path(keep).write_bytes(content)
            answers.write(json.dumps({"begin": number, "suffix": path.suffix}) + "\n")
            answers.write(json.dumps(read_one(reader, path)) + "\n")
            path.write_bytes(data)
            number += 1


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
