"""Option types whose choices are a registry, read when a value or the help is asked for."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from qutils.errors import unknown_name

if TYPE_CHECKING:
    _Name = click.ParamType[str]
else:  # click 8.1 has no generic types
    _Name = click.ParamType


class Registered(_Name):
    """A name in a registry, ``Registered("model", "qutils.zoo", "MODELS")``.

    Importing a registry may import torch, so that ``qutils --help`` does not wait for it.
    """

    def __init__(self, kind: str, module: str, registry: str) -> None:
        self.name, self._module, self._registry = kind, module, registry

    def names(self) -> list[str]:
        """The registered names, in the registry's order."""
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


MODEL = Registered("model", "qutils.zoo", "MODELS")
OBSERVER = Registered("observer", "qutils.observers", "OBSERVERS")
TARGET = Registered("target", "qutils.graph", "TARGETS")
GRANULARITY = Registered("granularity", "qutils.schemes", "GRANULARITIES")
