"""Option types whose choices are a registry, read when a value or the help is asked for."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from qutils.errors import unknown_name
from qutils.interrupt import nothing_begun

if TYPE_CHECKING:
    _Name = click.ParamType[str]
    _Pair = click.ParamType[tuple[int, int]]
    _Integers = click.ParamType[tuple[int, ...]]
    _Numbers = click.ParamType[tuple[float, ...]]
else:  # click 8.1 has no generic types
    _Name = _Pair = _Integers = _Numbers = click.ParamType


class Registered(_Name):
    """A name in a registry, ``Registered("model", "qutils.zoo", "MODELS")``.

    Importing a registry may import torch, so that ``qutils --help`` does not wait for it.
    """

    def __init__(self, kind: str, module: str, registry: str) -> None:
        self.name, self._module, self._registry = kind, module, registry

    def names(self) -> list[str]:
        """The registered names, in the registry's order."""
        with nothing_begun():
            found: Iterable[str] = getattr(importlib.import_module(self._module), self._registry)
        return list(found)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself; an unknown one is a usage error that suggests the closest."""
        if value not in self.names():
            self.fail(str(unknown_name(self.name, str(value), self.names())), param, ctx)
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """``[a|b]``, for arguments ``{a|b}``, as click's own choices show."""
        names = "|".join(self.names())
        return f"{{{names}}}" if isinstance(param, click.Argument) else f"[{names}]"


class Epochs(click.FloatRange):
    """A number of epochs: finite, and at least ``min``."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; NaN and Inf are usage errors."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number of epochs", param, ctx)
        return number


class Bits(_Pair):
    """Bits of weights and activations, ``W4A4``, each 2 to 8."""

    name = "WxAy"
    _FORM = re.compile(r"W([2-8])A([2-8])", re.IGNORECASE)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """``"W4A8"`` to ``(4, 8)``."""
        found = self._FORM.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not like W4A4, with 2 to 8 bits each", param, ctx)
        return int(found[1]), int(found[2])


class Sides(_Pair):
    """Height and width in pixels: ``224``, or ``240x320``."""

    name = "pixels"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """``"224"`` to ``(224, 224)``."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", str(value))
        if found is None:
            self.fail(f"{value!r} is not like 224 or 240x320", param, ctx)
        return int(found[1]), int(found[2] or found[1])


class Sizes(_Integers):
    """Sizes of axes: ``3x224x224``."""

    name = "sizes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """``"3x224x224"`` to ``(3, 224, 224)``."""
        if isinstance(value, tuple):
            return value
        if re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", str(value)) is None:
            self.fail(f"{value!r} is not like 3x224x224", param, ctx)
        return tuple(map(int, str(value).split("x")))


class Channels(_Numbers):
    """One number for each channel, ``0.485,0.456,0.406``, or one alone."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """``"0.5,0.5,0.5"`` to three floats."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) not in (1, 3):
            self.fail(f"{value!r} is not like 0.485,0.456,0.406 or 0.5", param, ctx)
        return numbers


MODEL = Registered("model", "qutils.zoo", "MODELS")
OBSERVER = Registered("observer", "qutils.numerics.observers", "OBSERVERS")
METHOD = Registered("method", "qutils.quantize.ptq", "ROW_NAMES")
TARGET = Registered("target", "qutils.graph", "TARGETS")
GRANULARITY = Registered("granularity", "qutils.numerics.schemes", "GRANULARITIES")
HEAD = Registered("head", "qutils.detection", "HEADS")
