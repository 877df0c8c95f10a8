"""``qutils engine``: TensorRT's engine of a quantized ONNX file, built, and timed on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from qutils.interrupt import nothing_begun

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("engine", context_settings={"show_default": True})
@click.argument("file", type=_FILE)
@click.argument("out", type=_FILE)
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    show_default="SM80, SM86, SM89, SM120",
    help="Of GPUs that are to run it: SM86 for 8.6. Repeat for several.",
)
@click.option("--batch", type=click.IntRange(min=1), default=1, help="Samples of a timed run.")
def command(file: Path, out: Path, capabilities: tuple[str, ...], batch: int) -> None:
    """Build the engine OUT of the quantized file FILE.onnx with TensorRT for RTX.

    Building needs no GPU, but the package: pip install -e '.[tensorrt]'. Running does: on a machine
    with an NVIDIA GPU an engine for that GPU is built as well, run and timed; elsewhere that is
    left out, and said.
    """
    with nothing_begun():
        from qutils.backends.shared.gpu import lacking_gpu
        from qutils.backends.tensorrt.engine import CAPABILITIES, build
        from qutils.backends.tensorrt.plan import steps

    build(file, out, capabilities or CAPABILITIES)
    counted = steps(out).most_common()
    click.echo(f"computes: {', '.join(f'{count} {step}' for step, count in counted)}")
    click.echo(f"Wrote {out} ({out.stat().st_size:,} bytes)")
    if lacking := lacking_gpu():
        click.echo(f"Not run and not timed: that needs an NVIDIA GPU; {lacking}")
        return
    for line in _timed(file, batch):
        click.echo(line)


def _timed(file: Path, batch: int) -> Iterator[str]:
    """What a run takes on this machine's GPU, with and without copies."""
    import numpy as np

    from qutils.backends import runtimes
    from qutils.evaluate import bench
    from qutils.evaluate.bench.latency import normal_batch

    runtime = runtimes.load(file, "tensorrt")
    x = normal_batch(runtime, batch)
    gpu = runtime.gpu_times(x)  # type: ignore[attr-defined]
    low, median, high = np.percentile(gpu, [25, 50, 75])
    whole = bench.latency(runtime, x)
    yield (
        f"batch {batch}: {median:.4f} ms on the GPU (IQR {high - low:.4f} ms, {len(gpu)} runs), "
        f"{whole.median_ms:.4f} ms with copies (IQR {whole.iqr_ms:.4f} ms), measured"
    )
