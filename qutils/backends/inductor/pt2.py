"""What a ``.pt2`` archive holds, checked before PyTorch opens it.

``torch.export.load`` unpickles what an archive says is a pickle, loads compiled code that it finds,
evaluates the sizes written in it as Python (``sympy.sympify``) and looks names of operators up in
the whole of ``torch``: a file from a stranger could run what it likes. ``check`` lets through plain
tensors and graphs of ATen operators, nothing else.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qutils.errors import DataError, UnsupportedError
from qutils.reading import EXPANSION, reading

_MEMBERS = re.compile(
    r"models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt"
    r"|archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
    r"|\.format_version|\.storage_alignment"
)
_TARGETS = re.compile(
    r"torch\.ops\.(aten|quantized_decomposed)\.\w+\.\w+|_operator\.[a-z]+|torch\.sym_\w+"
)
#: Arithmetic on sizes: ``2*Symbol('s31', positive=True, integer=True)``; no powers, which can be
#: made to last for ever. What matched is never given back (``*+``): no text takes long to refuse.
_SIZES = re.compile(
    r"(?!.*\*\*)(Symbol\('\w++'(, \w++=True)*+\)|Integer\(\d++\)|\d++|FloorDiv|Mod|Mul|Add"
    r"|[-+*/(), ])*+"
)
#: Operators of ATen that reach beyond tensors.
_FORBIDDEN = ("from_file", "save", "load", "_debug", "print")


def check(path: Path) -> None:
    """Refuse a ``.pt2`` file that is broken, or that holds anything but tensors and ATen.

    Raises:
        DataError: the file is missing, truncated or corrupt.
        UnsupportedError: opening it would run code of its own; says which part.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing. Export the model first, or correct the path.")
    with reading(path, "Export it again"), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > EXPANSION * path.stat().st_size:
            raise ValueError(f"it declares {unpacked:,} bytes")
        broken = archive.testzip()
        texts = [
            json.loads(archive.read(member))
            for member in members
            if member.filename.endswith(".json") and not broken
        ]
    names = [member.filename.partition("/")[2] for member in members]
    if broken or "models/model.json" not in names:
        raise _corrupt(path, f"{broken} is damaged" if broken else "it holds no model")
    foreign = [name for name in names if not _MEMBERS.fullmatch(name)]
    foreign += [name for name, count in Counter(names).items() if count > 1]  # which one is read?
    foreign += [
        m.filename for m in members if m.filename.endswith("inputs/model.pt") and m.file_size
    ]
    with reading(path, "Export it again"):
        foreign += [word for text in texts for word in _executable(text)]
    if foreign:
        raise UnsupportedError(
            f"{path} holds {foreign[0]!r}, which PyTorch would execute: only plain tensors and "
            "graphs of ATen operators are opened here. Export the model with qutils.export."
        )


def _corrupt(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} is corrupt or truncated ({path.stat().st_size:,} bytes): {reason}. "
        "Export it again."
    )


def _executable(value: Any) -> Iterator[str]:
    """Whatever the deserializer would unpickle, evaluate or look up outside of ATen."""
    if isinstance(value, list):
        for item in value:
            yield from _executable(item)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key == "use_pickle" and item:
            yield "a pickled tensor"
        elif (key == "expr_str" and not _SIZES.fullmatch(str(item))) or (
            key == "target" and not _known(str(item))
        ):
            yield str(item)
        elif key in ("source_fn_stack", "as_custom_obj", "as_operator"):
            yield key
        else:
            yield from _executable(item)


def _known(target: str) -> bool:
    name = target.split(".")[-2] if target.count(".") > 1 else target
    return bool(_TARGETS.fullmatch(target)) and not name.startswith(_FORBIDDEN)
