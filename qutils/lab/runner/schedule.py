"""Running notebooks two at a time, and those that measure time alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from qutils.cores import core_count
from qutils.lab.runner.parameters import read_notebook

T = TypeVar("T")

#: Notebooks that run at a time, where there are as many cores.
WIDTH = 2


def measures_time(notebook: Path) -> bool:
    """Return whether a notebook's metadata says ``{"qutils": {"alone": true}}``.

    Times that it measures would be those of a processor that others use as well.
    """
    return bool(read_notebook(notebook).metadata.get("qutils", {}).get("alone"))


def width_for(notebooks: Sequence[Path]) -> int:
    """Return how many of these notebooks run at a time: two, but not more than cores."""
    together = sum(not measures_time(path) for path in notebooks)
    return max(1, min(WIDTH, core_count(), together))


def longest_first(notebooks: Sequence[Path], seconds: Mapping[Path, float]) -> list[Path]:
    """Return the notebooks in the order in which they start, so that no core idles at the end.

    Those whose time is not known start first, the last chapter before all others: later chapters
    do more.
    """
    places = {path: place for place, path in enumerate(notebooks)}
    return sorted(notebooks, key=lambda path: (-seconds.get(path, float("inf")), -places[path]))


def side_by_side(
    notebooks: Sequence[Path],
    run: Callable[[Path], T],
    stop: Callable[[], None],
    alone: Collection[Path] | None = None,
) -> Iterator[tuple[Path, T]]:
    """Run notebooks in threads, several at a time, then some alone.

    Args:
        run: executes a notebook.
        stop: makes all calls of ``run`` return or raise soon.
        alone: notebooks that run alone; those that measure time if None.

    Yields:
        Each notebook with what ``run`` returned, as soon as it has ended.

    Raises:
        KeyboardInterrupt: the user stopped it; no call of ``run`` is left.
        Exception: as raised by ``run``; no call of ``run`` is left.
    """
    alone = [
        path for path in notebooks if (measures_time(path) if alone is None else path in alone)
    ]
    together = [path for path in notebooks if path not in alone]
    with ThreadPoolExecutor(width_for(notebooks)) as pool:
        try:
            for group in [together, *([path] for path in alone)]:
                futures = {pool.submit(run, path): path for path in group}
                for future in _ended(set(futures)):
                    yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()
            raise


def _ended(futures: set[Future[T]]) -> Iterator[Future[T]]:
    """Futures as they end; of several that ended at once, those that failed come last."""
    while futures:
        done, futures = wait(futures, return_when=FIRST_COMPLETED)
        yield from sorted(done, key=lambda future: future.exception() is not None)


def announce(text: str) -> None:
    """Print one line on stderr, whole, whichever thread prints."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
