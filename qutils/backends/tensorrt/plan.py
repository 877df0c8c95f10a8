"""What an engine of TensorRT computes in: the plan inside it, read without a GPU.

The engine of a network holds a description of its steps, in words: tensors with their types,
products (``corrltn``: convolution, ``fully_connected``: matrix product) and fused functions, whose
names spell what they do. Only a GPU shows which kernel a product then takes. NVIDIA documents none
of that; it is so in the engines of TensorRT for RTX 1.7.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from qutils.errors import DataError

_TENSOR = re.compile(rb'\n  tensor=\{[^\n]*? name="([^"\n]+)"[^\n]*? type=(\w+) \}')
_VIEW = re.compile(rb'\n  sub_tensor=\{[^\n]*? name="([^"\n]+)"[^\n]*? type=(\w+) \}')
_PRODUCT = re.compile(
    rb'\n +(corrltn|fully_connected)=\{ name="([^"\n]*)" output=\{([^}\n]*)\} input=\{([^}\n]*)\}'
)
_FUNCTION = re.compile(rb"\n +function=\{ name=__myl_(\w+)")
_NAME = re.compile(rb'"([^"]+)"')
_HEADER = b"accelerators={"


@dataclass(frozen=True)
class Product:
    """A convolution or matrix product of an engine, and the types of what it multiplies."""

    name: str
    op: str
    x: str  # int8, float, half ...
    w: str

    @property
    def is_int8(self) -> bool:
        """Whether it multiplies int8 by int8."""
        return (self.x, self.w) == ("int8", "int8")


def products(engine: str | Path) -> tuple[Product, ...]:
    """The convolutions and matrix products of an engine file, in its order.

    Raises:
        DataError: the file is missing, or no engine whose plan can be read.
    """
    data = _read(Path(engine))
    types = {m[1]: m[2].decode() for pattern in (_TENSOR, _VIEW) for m in pattern.finditer(data)}
    found = []
    for m in _PRODUCT.finditer(data):
        x, w = (types.get(name, "unknown") for name in _NAME.findall(m[4])[:2])
        found.append(Product(m[2].decode(), m[1].decode(), x, w))
    return tuple(found)


def steps(engine: str | Path) -> Counter[str]:
    """Products with their types, and fused functions, counted: ``{"corrltn int8 int8": 9, ...}``.

    Raises: as ``products``.
    """
    named = Counter(f"{p.op} {p.x} {p.w}" for p in products(engine))
    functions = (m[1].decode() for m in _FUNCTION.finditer(_read(Path(engine))))
    return named + Counter(functions)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"{path} is missing: build the engine first, or correct the path")
    data = path.read_bytes()
    if _HEADER not in data:
        raise DataError(
            f"{path} ({len(data):,} bytes) is no engine of TensorRT for RTX 1.7, or truncated: "
            "build it again"
        )
    return data
