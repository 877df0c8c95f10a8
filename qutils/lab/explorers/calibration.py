"""Explorer of calibration: how many pictures, which ones, and what unseen data then meets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qutils import zoo
from qutils.errors import unknown_name
from qutils.evaluate.analysis.calibration_curve import observed_after
from qutils.evaluate.analysis.error import ErrorSplit, error_split_of_rows
from qutils.evaluate.analysis.pictures import SOURCES
from qutils.lab.explorers.control import Control, Value
from qutils.lab.explorers.explorer import Explorer
from qutils.lab.explorers.view import Fact, View
from qutils.lab.figures.explorers.calibration import CalibrationData, CalibrationPlot
from qutils.numerics.affine import QParams
from qutils.numerics.observers import OBSERVERS, Rows, qparams_of
from qutils.numerics.schemes import MAX_BITS, MIN_BITS, Scheme
from qutils.quantize.calibration import Observation, observe

BINS = 160
#: Steps that are so many times as wide are called coarser.
COARSER = 1.02
#: Numbers of calibration pictures on the slider.
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
#: Activations that show something: a ReLU, a residual branch with two tails, the last average.
SITES = ("stage1.conv1", "stem.0", "stage3.conv2", "pool")
#: What a page without a kernel offers.
ON_PAGES = {"site": ("stage1.conv1", "pool"), "source": ("random", "one_class", "noise")}


@dataclass(frozen=True)
class CalibrationMaterial:
    """What was observed: by source and number of pictures, of the whole split, of unseen ones."""

    sources: Mapping[str, Mapping[int, Observation]]
    whole: Observation
    unseen: Observation


def calibration_material(
    model: str = "resnet8",
    whole: int = 1024,
    unseen: int = 512,
    counts: Sequence[int] = COUNTS,
    seed: int = 0,
) -> CalibrationMaterial:
    """Observe a shipped network on every source; ``whole`` pictures stand for the whole split.

    Memory: a histogram (33 kB) for each activation, source and count.

    Raises:
        InvalidInputError: an unknown model, or more pictures than a split holds.
    """
    data = zoo.dataset(zoo.entry(model).dataset)
    kept = observe(zoo.load(model), data.calibration.take(1)).blank()
    sources = {
        name: observed_after(kept, source.pictures(data.calibration, max(counts), seed), counts)
        for name, source in SOURCES.items()
    }
    return CalibrationMaterial(
        sources,
        kept.extended(data.calibration.take(whole).batches(32)),
        kept.extended(data.test.take(unseen)),
    )


@dataclass(frozen=True)
class _Fit:
    """One calibration of one activation: its levels, and the error unseen values then pay."""

    q: QParams
    low: float
    high: float
    error: ErrorSplit

    @property
    def width(self) -> float:
        return self.high - self.low


class CalibrationExplorer(Explorer):
    """One activation, calibrated with few or many, good or bad pictures, judged on unseen ones."""

    title = "Calibration"
    ahead = ("site",)

    def __init__(self, material: CalibrationMaterial, sites: Sequence[str] = SITES) -> None:
        self.material = material
        for site in sites:
            if site not in material.unseen.statistics:
                raise unknown_name("site", site, material.unseen.statistics)
        counts = tuple(next(iter(material.sources.values())))
        sources = tuple(material.sources)
        pages = {
            name: tuple(v for v in ON_PAGES[name] if v in options) or tuple(options)
            for name, options in (("site", sites), ("source", sources))
        }
        self.controls = (
            Control("site", "Activation", tuple(sites), sites[0], "menu", tuple(sites),
                    frames=pages["site"]),
            Control("source", "Pictures", sources, sources[0], "menu", frames=pages["source"]),
            Control("pictures", "Number", counts, counts[-1], frames=counts[::2]),
            Control("observer", "Observer", tuple(OBSERVERS), next(iter(OBSERVERS)), "menu",
                    frames=("minmax", "mse")),
            Control("bits", "Bits", tuple(range(MIN_BITS, MAX_BITS + 1)), 8, frames=(4, 8)),
        )  # fmt: skip
        self.plot = CalibrationPlot()
        self._fit = lru_cache(maxsize=4096)(self._fit_of)
        self._rows = lru_cache(maxsize=256)(self._rows_of)

    @classmethod
    def default(cls) -> CalibrationExplorer:
        """ResNet-8; 1,024 calibration pictures stand for the whole split, 512 are unseen."""
        return cls(calibration_material())

    def compute(self, **setting: Value) -> View:
        """The range of these pictures beside the whole split's, and what unseen values pay."""
        site, source, n = str(setting["site"]), str(setting["source"]), int(setting["pictures"])
        scheme = Scheme(int(setting["bits"]), False, False, observer=str(setting["observer"]))
        fit = self._fit(site, source, n, scheme)
        whole = self._fit(site, "", 0, scheme)
        statistic = self.material.sources[source][n].statistics[site]
        facts = (
            Fact("low", "Lowest level", fit.low, digits=3),
            Fact("high", "Highest level", fit.high, digits=3),
            Fact("width", "Width, of the whole split's", 100 * fit.width / whole.width, "%", 1),
            Fact("clipped", "Unseen values clipped", 100 * fit.error.clipped_share, "%", 4),
            Fact("sqnr_db", "SQNR on unseen pictures", fit.error.sqnr_db, "dB"),
            Fact("whole_sqnr_db", "SQNR with the whole split", whole.error.sqnr_db, "dB"),
            Fact("values_bytes", "Values seen", 4 * statistic.count_, "bytes"),
            Fact("kept_bytes", "Kept of them", statistic.counts_.nbytes, "bytes"),
        )
        alt = (
            f"Histogram of {site} on unseen pictures; {scheme.observer} covers {fit.low:.3g} to "
            f"{fit.high:.3g} after {n} pictures of source {source}, {whole.low:.3g} to "
            f"{whole.high:.3g} after the whole split; right, width and SQNR by number of pictures"
        )
        note = f"Pictures: {SOURCES[source].about}. {_note(fit, whole)}"
        return View(facts, note, alt, data=self._data(site, source, n, scheme))

    def _fit_of(self, site: str, source: str, n: int, scheme: Scheme) -> _Fit:
        """The calibration with ``n`` pictures of a source; of the whole split if it has no name."""
        kept = self.material.sources[source][n] if source else self.material.whole
        q = qparams_of(kept.statistics[site].rows(), scheme)
        low, high = (float(q.scale * (end - q.zero_point)) for end in (q.qmin, q.qmax))
        return _Fit(q, low, high, error_split_of_rows(self._rows(site), q))

    def _rows_of(self, site: str) -> Rows:
        """Unseen values of an activation."""
        return self.material.unseen.statistics[site].rows()

    def _data(self, site: str, source: str, n: int, scheme: Scheme) -> CalibrationData:
        unseen = self._rows(site)
        heights, edges = np.histogram(unseen.values[0], bins=BINS, weights=unseen.counts[0])
        fit, whole = self._fit(site, source, n, scheme), self._fit(site, "", 0, scheme)
        counts = tuple(self.material.sources[source])
        reference = "random" if "random" in self.material.sources else source
        curves = {
            name: [self._fit(site, name, count, scheme) for count in counts]
            for name in (source, reference)
        }
        width = {k: np.array([100 * f.width / whole.width for f in v]) for k, v in curves.items()}
        sqnr = {k: np.array([f.error.sqnr_db for f in v]) for k, v in curves.items()}
        return CalibrationData(
            tensor=site,
            observer=scheme.observer,
            source=source.replace("_", " "),
            edges=edges.astype(float),
            counts=heights.astype(float),
            low=fit.low,
            high=fit.high,
            half_step=float(fit.q.scale) / 2,
            whole_low=whole.low,
            whole_high=whole.high,
            pictures=np.array(counts, dtype=float),
            width=width[source],
            sqnr_db=sqnr[source],
            random_width=width[reference],
            random_sqnr_db=sqnr[reference],
            whole_sqnr_db=whole.error.sqnr_db,
            at=counts.index(n),
        )


def _note(fit: _Fit, whole: _Fit) -> str:
    """What to see, from the numbers alone."""
    behind = whole.error.sqnr_db - fit.error.sqnr_db
    if abs(behind) < 0.5:
        return "As good as the whole split, to half a dB."
    if behind < 0:
        why = _why(fit, whole, "the whole split's range")
        return f"{-behind:.1f} dB better than the whole split: {why}."
    return f"{behind:.1f} dB below the whole split: {_why(whole, fit, 'this range')}."


def _why(better: _Fit, worse: _Fit, name: str) -> str:
    """What the worse of two ranges, called ``name``, pays for: clipping, coarse steps, or luck."""
    clipping = worse.error.clipping - better.error.clipping
    if clipping > worse.error.rounding - better.error.rounding:
        share = 100 * worse.error.clipping / worse.error.total
        return (
            f"unseen values lie outside {name}, clipping them makes up {share:.0f} % of its error"
        )
    coarser = worse.width / better.width
    if coarser > COARSER:
        return (
            f"{name} is wider, with steps {coarser:.2f} times as wide, and at this number of bits "
            "that costs more than it saves in clipping"
        )
    return f"the levels of {name} happen to lie farther from unseen values"
