"""One look for every figure: colour-blind palette, fixed colours, one way to save."""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

from qutils.errors import InvalidInputError, unknown_name
from qutils.files import atomic_path
from qutils.numerics.observers import OBSERVERS

P = ParamSpec("P")

#: Okabe and Ito (2008), "Color Universal Design".
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#6E6E6E"

#: Always this colour for this observer.
OBSERVER_COLORS = {name: observer.color for name, observer in OBSERVERS.items()}
#: Always this colour for this granularity.
GRANULARITY_COLORS = {"per_tensor": ORANGE, "per_channel": BLUE, "per_group": GREEN}
#: Always this colour for this family of methods; its members are lighter shades.
METHOD_COLORS = {"fp32": GREY, "ptq": VERMILLION, "qat": BLUE}

METHOD_LABELS = {"fp32": "FP32", "ptq": "PTQ", "qat": "QAT"}
MODEL_LABELS = {
    "resnet8": "ResNet-8",
    "mobilenetv2": "MobileNetV2",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "yolo11n": "YOLO11n",
    "yolo26n": "YOLO26n",
}
#: FP32 is a reference: grey and dashed.
REFERENCE: dict[str, Any] = {"color": GREY, "linestyle": (0, (5, 3)), "linewidth": 1.3, "zorder": 1}

#: matplotlib's settings are the process's: whoever sets or reads them for a figure holds this. A
#: notebook draws on two threads, since JupyterLab hands moves of a widget to one of their own.
DRAWING = threading.RLock()

_RC: Any = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same everywhere
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "svg.hashsalt": "qutils",  # the same bytes for the same figure
}


def themed(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a plot function: what it draws has the theme, whatever the caller's settings."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with DRAWING, mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(sns.plotting_context("notebook", font_scale=0.85))
            mpl.rcParams.update(sns.axes_style("whitegrid"))
            mpl.rcParams.update(_RC)
            return draw(*args, **kwargs)

    return wrapper


def family(method: str) -> str:
    """Family of a method: ``fp32``, ``ptq`` or ``qat``.

    >>> family("ptq-bias-correction")
    'ptq'

    Raises:
        InvalidInputError: the method is of no known family.
    """
    name = method.partition("-")[0]
    if name not in METHOD_COLORS:
        raise InvalidInputError(
            f"unknown method {method!r}: it must be or start with one of {', '.join(METHOD_COLORS)}"
        )
    return name


def method_color(method: str) -> str:
    """Colour of a method: its family's, lightened by a fixed amount for each refinement.

    >>> method_color("ptq") == METHOD_COLORS["ptq"]
    True
    """
    base = METHOD_COLORS[family(method)]
    refinement = method.partition("-")[2]
    if not refinement:
        return base
    share = 0.25 + 0.4 * (sum(refinement.encode()) % 17) / 16  # stable across runs, unlike hash()
    return str(mpl.colors.to_hex(_mix(base, "white", share)))


def observer_color(observer: str) -> str:
    """Colour of an observer.

    Raises:
        InvalidInputError: unknown observer; the closest name is suggested.
    """
    if observer not in OBSERVER_COLORS:
        raise unknown_name("observer", observer, OBSERVER_COLORS)
    return OBSERVER_COLORS[observer]


def method_label(method: str) -> str:
    """How a method is written in a figure.

    >>> method_label("qat-lsq")
    'QAT lsq'
    """
    refinement = method.partition("-")[2].replace("-", " ")
    return f"{METHOD_LABELS[family(method)]} {refinement}".rstrip()


def model_label(model: str) -> str:
    """How a model is written in a figure; an unknown one as it is."""
    return MODEL_LABELS.get(model, model)


def to_svg(figure: Figure) -> str:
    """The figure as SVG text; the same figure gives the same text."""
    buffer = io.BytesIO()
    with DRAWING, mpl.rc_context({"svg.hashsalt": _RC["svg.hashsalt"]}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue().decode()


def to_png(figure: Figure, dpi: int = 160) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure atomically as ``.png`` or ``.svg``.

    Raises:
        InvalidInputError: another suffix.
        DataError: the folder cannot be written.
    """
    target = Path(path)
    if target.suffix not in (".png", ".svg"):
        raise InvalidInputError(f"{target.name}: figures are saved as .png or .svg")
    data = to_png(figure) if target.suffix == ".png" else to_svg(figure).encode()
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)
    return target


def _mix(color: str, other: str, share: float) -> tuple[float, float, float]:
    """``(1 - share) * color + share * other`` in RGB."""
    pairs = zip(mpl.colors.to_rgb(color), mpl.colors.to_rgb(other), strict=True)
    red, green, blue = ((1 - share) * a + share * b for a, b in pairs)
    return red, green, blue
