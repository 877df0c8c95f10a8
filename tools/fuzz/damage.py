"""Ways to damage a valid file, each drawn from a seeded generator."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable

#: Sizes and offsets that files declare when they lie.
_HUGE = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, 1 << 62)
#: Values of other types than a JSON or YAML file should have at a place.
_WRONG: tuple[object, ...] = (
    *(None, True, -1, 0, 10**30, 1e308, 1e999, "", "x", "\x00", "é" * 300, "-" * 70_000),
    *([], {}, [[]], [None], {"a": {}}, [1] * 40, "1" * 5000, float("nan")),
)
_TEXT = (
    *("null", "[]", "{}", "-1", "1e999", "9" * 5000, "[" * 3000, "*a", "&a [*a]", "!!python/x 1"),
    *("!!int x", "? ", "\t", "2001-99-99", "0x", "!!binary x", "{a: b", ".nan", "<<: 1", "9" * 11),
)


def flip(data: bytes, rng: random.Random) -> bytes:
    """Flip 1 to 8 bits."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def truncate(data: bytes, rng: random.Random) -> bytes:
    """Cut the file off anywhere."""
    return data[: rng.randrange(len(data))]


def insert(data: bytes, rng: random.Random) -> bytes:
    """Insert random bytes."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 7, 64, 1000))) + data[at:]


def delete(data: bytes, rng: random.Random) -> bytes:
    """Leave a few bytes out."""
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice((1, 2, 4, 50)) :]


def copy(data: bytes, rng: random.Random) -> bytes:
    """Copy a part of the file over another one: swapped lengths, repeated tables."""
    size = rng.choice((2, 4, 8, 16))
    source, to = rng.randrange(len(data)), rng.randrange(len(data))
    part = data[source : source + size]
    return data[:to] + part + data[to + len(part) :]


def declare(data: bytes, rng: random.Random) -> bytes:
    """Overwrite an aligned word, more often near the head, with a size that cannot be."""
    form = rng.choice(("<H", "<I", "<I", "<Q", ">H", ">I"))
    width = struct.calcsize(form)
    end = len(data) if rng.random() < 0.6 else min(len(data), 256)
    at = rng.randrange(max(1, end // width)) * width
    word = struct.pack(form, rng.choice(_HUGE) & ((1 << (8 * width)) - 1))
    return data[:at] + word + data[at + width :]


def members(data: bytes, rng: random.Random) -> bytes:
    """Damage one member of a ZIP archive whose checksums hold afterwards."""
    if data[:2] != b"PK":  # a file of another kind beside archives
        return rng.choice(BYTES)(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = [(info.filename, archive.read(info)) for info in archive.infolist()]
    chosen = rng.randrange(len(parts))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for place, (name, content) in enumerate(parts):
            if place == chosen and content:
                how = types if name.endswith("json") and rng.random() < 0.8 else rng.choice(BYTES)
                content = how(content, rng)
            archive.writestr(name, content)
    return out.getvalue()


def types(data: bytes, rng: random.Random) -> bytes:
    """Replace, remove or repeat a value anywhere in a JSON document."""
    root = [json.loads(data)]
    places: list[tuple[object, object]] = []
    stack: list[object] = [root]
    while stack:
        node = stack.pop()
        pairs = node.items() if isinstance(node, dict) else enumerate(node)  # type: ignore[arg-type]
        for key, child in pairs:
            places.append((node, key))
            if isinstance(child, dict | list):
                stack.append(child)
    for _ in range(rng.choice((1, 1, 1, 3))):
        owner, key = rng.choice(places)
        try:
            if rng.random() < 0.15 and isinstance(owner, dict):
                del owner[key]
            else:
                owner[key] = rng.choice(_WRONG)  # type: ignore[index]
        except (KeyError, IndexError):
            continue
    text = json.dumps(root[0]) if root else ""
    if rng.random() < 0.05:
        text = "[" * 100_000 + text
    return text.encode()


def tokens(data: bytes, rng: random.Random) -> bytes:
    """Replace a word of a text file by one that means something else."""
    words = list(re.finditer(rb"[^\s:,\[\]{}]+", data))
    if not words:
        return data
    word = rng.choice(words)
    return data[: word.start()] + rng.choice(_TEXT).encode() + data[word.end() :]


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip, flip, truncate, insert, delete, copy, declare, declare,
)  # fmt: skip
#: Kinds of files, and what damages them.
KINDS: dict[str, tuple[Callable[[bytes, random.Random], bytes], ...]] = {
    "bytes": BYTES,
    "zip": (*BYTES, *[members] * 16),
    "json": (*BYTES[:5], *[types] * 15),
    "text": (*BYTES[:5], *[tokens] * 12),
}
