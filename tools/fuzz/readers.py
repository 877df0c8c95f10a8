"""Every reader of a file that a user gives or a run leaves, with small valid files for it.

A reader's ``seeds`` write the files into a folder; its ``read`` gets one of them, damaged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.fuzz import seeds


@dataclass(frozen=True)
class Reader:
    """How files of one kind are made and read; ``kind`` is the way they are damaged."""

    seeds: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    kind: str = "bytes"


def _image(path: Path) -> None:
    from qutils.images import check_whole, image_facts, read_rgb
    from qutils.zoo import Photograph, Preprocessing

    one = Photograph(path)
    if path.stem == "g":  # 16 bits: for detectors alone
        _each(lambda: image_facts(path), lambda: read_rgb(path))
        return
    _each(
        lambda: image_facts(path),
        lambda: read_rgb(path),
        lambda: check_whole(path),
        one.size,
        lambda: one.pixels(Preprocessing(32)),
        lambda: one.pixels(Preprocessing(28, mean=(0.3,), std=(0.3,))),
    )


def _each(*calls: Callable[[], object]) -> None:
    """Call all, also where one refuses; raises the last refusal."""
    from qutils.errors import QutilsError

    refusal: QutilsError | None = None
    for call in calls:
        try:
            call()
        except QutilsError as error:
            refusal = error
    if refusal is not None:
        raise refusal


def _arrays(path: Path) -> None:
    from qutils.cli.commands.inputs import read_inputs

    for _ in read_inputs(path).batches():
        break


def _import(path: Path) -> None:
    from qutils.cli.commands.look import preprocessing_of
    from qutils.importers.onnx.load import import_onnx

    _each(lambda: preprocessing_of(str(path)), lambda: import_onnx(path))


def _run(runtime: str, compute: bool = True) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        import numpy as np

        from qutils.backends import runtimes

        loaded = runtimes.load(path, runtime)
        shapes = {
            name: ([size if isinstance(size, int) else 1 for size in axes], dtype)
            for name, (axes, dtype) in loaded.declared.items()  # type: ignore[attr-defined]
        }
        if any(math.prod(shape) > 1 << 24 for shape, _ in shapes.values()):
            return  # the file declares inputs that no user has
        fed = {name: np.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()}
        if compute:
            loaded.run(fed if len(fed) > 1 else next(iter(fed.values())))

    return read


def _openvino_pair(path: Path) -> None:
    _run("openvino")(path.with_suffix(".xml"))


def _tflite_size(path: Path) -> None:
    from qutils.evaluate.bench.tflite_size import parts_of

    parts_of(path)


def _pte_kernels(path: Path) -> None:
    from qutils.backends import runtimes

    runtimes.load(path, "executorch").kernels()


def _safetensors(path: Path) -> None:
    import qutils as q
    from qutils.numerics.tensors import read_tensors

    if path.stem == "sim":
        q.load(path, seeds.network())
    else:
        read_tensors(seeds.network(), path)


def _state(path: Path) -> None:
    from qutils.cli.commands.models import _load_weights

    _load_weights(seeds.network(), path)


def _parameters(path: Path) -> None:
    from qutils.cli.commands.values import given_values
    from qutils.lab.runner.parameters import read_parameters, resolve

    resolve(read_parameters(path.with_name("book.ipynb")), given_values([], [], [], [path]))


def _notebook(path: Path) -> None:
    from qutils.lab.runner.parameters import read_parameters

    read_parameters(path)


def _labels(path: Path) -> None:
    from qutils.detection.labels import read_labels

    found = read_labels(path, classes=3)
    if found is not None:
        str(found.text)


def _data_yaml(path: Path) -> None:
    from qutils.detection.data_yaml import read_splits, read_yaml

    read = read_yaml(path)
    _each(lambda: read.names, lambda: read.keypoints, read.check_channels)
    read_splits(read)


def _idx(path: Path) -> None:
    from qutils.files import sha256
    from qutils.zoo.datasets import _read_idx

    (path.parent / "SHA256SUMS").write_text(f"{sha256(path)}  {path.name}\n")
    _read_idx(path)


def _classes(path: Path) -> None:
    from qutils.cli.commands.look import read_classes

    read_classes(str(path))


def _results(path: Path) -> None:
    from qutils.lab.results import compare, gallery, results, reuse
    from qutils.lab.runner import status

    read: dict[str, Callable[[], Any]] = {
        "results.json": lambda: results.load(path),
        "status.json": lambda: status.load_status(path.parent),
        "changes.json": lambda: compare.load(path),
        "reuse.json": lambda: reuse.load_reuse(path.parent),
    }
    whole = path.parent.parent
    assert len(gallery.collect(whole)) == 2, "a damaged report costs another one"
    gallery.build(whole)
    read[path.name]()


def _cache(path: Path) -> None:
    from qutils.lab.results.cache import Cache

    cache = Cache(path.parent.parent, refresh=False)
    assert cache.get_or_compute(seeds.KEY, lambda: seeds.VALUE) == seeds.VALUE
    cache.peek(seeds.KEY)
    str(cache.reuse)


READERS: dict[str, Reader] = {
    "image": Reader(seeds.images, _image),
    "arrays": Reader(seeds.arrays, _arrays, "zip"),
    "onnx-import": Reader(seeds.onnx_float, _import),
    "onnxruntime": Reader(seeds.exported("onnxruntime"), _run("onnxruntime")),
    "openvino": Reader(seeds.exported("openvino"), _run("openvino")),
    "openvino-ir": Reader(seeds.openvino_pair, _openvino_pair),
    "litert": Reader(seeds.exported("litert"), _run("litert")),
    "tflite-size": Reader(seeds.exported("litert"), _tflite_size),
    "executorch": Reader(seeds.exported("executorch"), _run("executorch")),
    "pte-kernels": Reader(seeds.exported("executorch"), _pte_kernels),
    "pt2": Reader(seeds.exported("inductor"), _run("inductor", compute=False), "zip"),
    "safetensors": Reader(seeds.checkpoints, _safetensors),
    "state-dict": Reader(seeds.state_dict, _state, "zip"),
    "parameters": Reader(seeds.parameters, _parameters, "text"),
    "notebook": Reader(seeds.notebook, _notebook, "json"),
    "labels": Reader(seeds.labels, _labels, "text"),
    "data-yaml": Reader(seeds.data_yaml, _data_yaml, "text"),
    "idx": Reader(seeds.idx, _idx),
    "classes": Reader(seeds.classes, _classes, "text"),
    "report": Reader(seeds.reports, _results, "json"),
    "cache": Reader(seeds.cache_entry, _cache, "json"),
}
