"""Small valid files for the fuzzer."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

KEY: dict[str, object] = {"unit": 1}
VALUE = {"top1": 92.5, "names": ["a", "b"]}
_REPORTS = Path(__file__).resolve().parents[2] / "reports"


def network() -> Any:
    """A network of two layers, the same each time."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3))
    return nn.Sequential(*layers).eval()


def _simulated(target: str) -> Any:
    import torch

    import qutils as q

    return q.calibrate(network(), torch.randn(4, 3, 8, 8), target=target)


def images(folder: Path) -> list[Path]:
    """One image of each format."""
    from PIL import Image

    pixels = np.arange(40 * 48 * 3, dtype=np.uint32) * 2654435761 >> 24
    image = Image.fromarray(pixels.astype(np.uint8).reshape(40, 48, 3))
    exif = Image.Exif()
    exif[274] = 6
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "a.png": (image, {}), "b.jpg": (image, {"exif": exif}), "c.bmp": (image, {}),
        "d.tif": (image, {"compression": "tiff_lzw"}), "e.webp": (image, {}),
        "f.gif": (image.convert("P"), {}), "g.png": (image.convert("I;16"), {}),
        "h.jpg": (image.convert("CMYK"), {}), "i.tif": (image.convert("L"), {}),
        "j.jp2": (image, {}), "k.png": (image.convert("P"), {}),
        "l.jpg": (image, {"progressive": True}),
        "m.png": (Image.new("L", (1, 60_000)), {}),
    }  # fmt: skip
    for name, (one, options) in made.items():
        one.save(folder / name, **options)
    return [folder / name for name in made]


def arrays(folder: Path) -> list[Path]:
    """NumPy's files: one array, several, compressed, with labels."""
    x = np.linspace(0, 1, 2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)
    np.save(folder / "a.npy", x)
    np.savez(folder / "b.npz", inputs=x, labels=np.array([0, 1]))
    np.savez_compressed(folder / "c.npz", x)
    np.savez(folder / "d.npz", ids=np.ones((2, 5), np.int64), mask=np.ones((2, 5), np.int64))
    return [folder / name for name in ("a.npy", "b.npz", "c.npz", "d.npz")]


def exported(target: str) -> Callable[[Path], list[Path]]:
    """A quantized network as a file of a backend."""

    def write(folder: Path) -> list[Path]:
        import qutils as q
        from qutils.backends import BACKENDS

        path = folder / f"net{BACKENDS[target].suffix}"
        q.export(_simulated(target), path)
        return [path]

    return write


def onnx_float(folder: Path) -> list[Path]:
    """A float network, to be imported."""
    import qutils as q

    path = folder / "float.onnx"
    q.export_float(network(), (3, 8, 8), path)
    return [path]


def openvino_pair(folder: Path) -> list[Path]:
    """OpenVINO's own format: both files of it."""
    import openvino as ov

    exported("openvino")(folder)
    ov.save_model(ov.Core().read_model(folder / "net.onnx"), folder / "own.xml")
    return [folder / "own.xml", folder / "own.bin"]


def checkpoints(folder: Path) -> list[Path]:
    """A simulated model, and float weights."""
    import safetensors.torch

    import qutils as q

    q.save(_simulated("onnxruntime"), folder / "sim.safetensors")
    safetensors.torch.save_file(network().state_dict(), folder / "float.safetensors")
    return [folder / "sim.safetensors", folder / "float.safetensors"]


def state_dict(folder: Path) -> list[Path]:
    """Weights of ``torch.save``."""
    import torch

    torch.save(network().state_dict(), folder / "weights.pt")
    return [folder / "weights.pt"]


_CELL = """from typing import Literal
profile: Literal["smoke", "full"] = "smoke"  # how much
seed: int = 0  # 0.., seed
bits: list[int] = [2, 4]  # 2..8, widths
rate: float = 0.5  # 0..1, share
extra: dict[str, int] | None = None  # anything
any_list: list = [1, [2]]  # whatever
"""


def notebook(folder: Path) -> list[Path]:
    """A notebook with parameters."""
    import nbformat

    made: Any = nbformat.v4
    cell = made.new_code_cell(_CELL, metadata={"tags": ["parameters"]})
    book = made.new_notebook(cells=[made.new_markdown_cell("# Title"), cell])
    nbformat.write(book, folder / "book.ipynb")
    return [folder / "book.ipynb"]


def parameters(folder: Path) -> list[Path]:
    """A YAML of parameters, and its notebook."""
    notebook(folder)
    text = (
        "profile: full\nseed: 7\nbits: [2, 4, 8]\nrate: 0.25\nextra: {a: 1}\nany_list: [1, [2]]\n"
    )
    (folder / "values.yaml").write_text(text)
    return [folder / "values.yaml"]


def labels(folder: Path) -> list[Path]:
    """Boxes, and an outline."""
    (folder / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n2 0.1 0.1 0.3 0.1 0.2 0.4\n1 0.3 0.3 .1 .1\n")
    return [folder / "a.txt"]


def data_yaml(folder: Path) -> list[Path]:
    """The YAML of a dataset: a folder of images, and a list of them."""
    (folder / "images").mkdir()
    images(folder / "images")
    text = (
        "path: .\ntrain: images\nval: list.txt\nnc: 2\nnames:\n  0: a\n  1: b\nkpt_shape: [17, 3]\n"
    )
    (folder / "data.yaml").write_text(text)
    (folder / "list.txt").write_text("./images/a.png\n./images/b.jpg\n")
    return [folder / "data.yaml"]


def idx(folder: Path) -> list[Path]:
    """Bytes in LeCun's format, with gzip."""
    raw = b"\x00\x00\x08\x03" + np.array([2, 3, 4], ">u4").tobytes() + bytes(range(24))
    (folder / "x-idx3-ubyte.gz").write_bytes(gzip.compress(raw, mtime=0))
    return [folder / "x-idx3-ubyte.gz"]


def classes(folder: Path) -> list[Path]:
    """Class names, one a line."""
    (folder / "classes.txt").write_text("cat\ndog\nbird\n")
    return [folder / "classes.txt"]


def reports(folder: Path) -> list[Path]:
    """Two reports of the repository, cut short; the files of the first are damaged."""
    for name in ("bench", "ptq_vs_qat"):
        (folder / name).mkdir()
        for file in ("results.json", "status.json", "changes.json", "reuse.json"):
            source = _REPORTS / name / file
            if not source.is_file():
                source = _REPORTS / "ptq_vs_qat" / file
            plain = json.loads(source.read_text())
            if "rows" in plain:
                plain["rows"] = plain["rows"][:2]
            (folder / name / file).write_text(json.dumps(plain))
    return [folder / "bench" / f"{kind}.json" for kind in ("results", "status", "changes", "reuse")]


def cache_entry(folder: Path) -> list[Path]:
    """A kept result."""
    from qutils.lab.results.cache import Cache

    os.environ.pop("QUTILS_CACHE_REFRESH", None)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    Cache(folder / "cache", refresh=False).get_or_compute(KEY, lambda: VALUE)
    return [*(folder / "cache").glob("*/*.json")]
