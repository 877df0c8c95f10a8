"""``qutils train``: repeat the recipe that trained a model of the zoo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qutils.cli.commands.choices import MODEL, Bits, Epochs
from qutils.cli.commands.train_qat import default_name, refuse_threads, train_qat
from qutils.errors import InvalidInputError
from qutils.interrupt import nothing_begun

if TYPE_CHECKING:
    from torch import nn

    from qutils.quantize.training import Plan
    from qutils.zoo import Dataset


@click.command("train")
@click.argument("model", type=MODEL)
@click.option("--qat", "bits", type=Bits(), help="Quantization-aware training, e.g. W4A4.")
@click.option("--epochs", type=Epochs(min=0, min_open=True), help="Instead of the recipe's.")
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the recipe's.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Checkpoint to write; MODEL.safetensors or MODEL-w4a4.safetensors unless given.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
def command(
    model: str,
    bits: tuple[int, int] | None,
    epochs: float | None,
    seed: int | None,
    out: Path | None,
    threads: int,
) -> None:
    """Train MODEL of the zoo from scratch by its recipe and write its weights.

    With --qat, fine-tune the shipped network at these bits, exactly as the full report does with
    its first seed, and write weights, scales and zero points; what the report trained is reused.

    --epochs replaces the epochs of the recipe's first round and leaves out a second, if any.

    A file that exists is replaced only if --out names it; that goes for the shipped checkpoint as
    well. Ctrl-C keeps what is trained so far, and the same command continues there: in a file
    beside OUT, or, with --qat, among the kept results of the reports (.cache/qutils, or
    $QUTILS_CACHE).

    The same seed, threads, torch and kind of CPU give the same weights, bit for bit; change one,
    and accuracy moves as it does between seeds.
    """
    with nothing_begun():
        from qutils import zoo

    if bits is not None:
        refuse_threads(threads)
        target = destination(default_name(model, bits), out)
        train_qat(model, bits, epochs, seed, target)
        relist(target, zoo.entry(model).checkpoint)
        return
    plan = zoo.MODELS[model].plan
    plan = replace(
        plan,
        epochs=plan.epochs if epochs is None else epochs,
        seed=plan.seed if seed is None else seed,
    )
    target = destination(model, out)
    then = zoo.MODELS[model].second_plan if epochs is None else None
    trained = _train(model, plan, then, target, threads)
    zoo.save(trained, target)
    relist(target, zoo.entry(model).checkpoint)
    _tell(trained, zoo.dataset(zoo.entry(model).dataset), target)


def destination(model: str, out: Path | None) -> Path:
    """Where the weights go.

    Raises:
        InvalidInputError: the file exists and ``--out`` does not name it, or cannot be written.
    """
    from qutils.lab.runner.staging import probe_write

    target = Path(out or f"{model}.safetensors").resolve()
    if out is None and target.exists():
        raise InvalidInputError(f"{target} exists: to replace it, name it with --out")
    if target.suffix != ".safetensors":
        raise InvalidInputError(f"weights are written as .safetensors, not {target.suffix!r}")
    probe_write(target.parent)
    return target


def resume_file(target: Path, plan: Plan, threads: int) -> Path:
    """The file of an interrupted run: every plan has its own, so that none continues another."""
    return target.with_name(f"{target.name}.{plan.epochs:g}-{plan.seed}-{threads}.resume")


def _train(model: str, plan: Plan, then: Plan | None, target: Path, threads: int) -> nn.Module:
    import torch

    from qutils import zoo

    torch.set_num_threads(threads)
    entry, resume = zoo.entry(model), resume_file(target, plan, threads)
    device = "GPU" if torch.cuda.is_available() else "CPU"
    click.echo(
        f"{model}: {plan.epochs:g} epochs of {entry.dataset}, seed {plan.seed}, "
        f"threads {threads}, {device}, torch {torch.__version__}",
        err=True,
    )
    if resume.is_file():
        click.echo(f"Continuing the interrupted run in {resume}", err=True)
    try:
        trained, _ = zoo.train(
            entry.build, zoo.dataset(entry.dataset), plan, then=then, resume=resume, label=model
        )
    except KeyboardInterrupt:
        if resume.is_file():
            click.echo(f"Kept in {resume}; the same command continues there.", err=True)
        raise
    return trained


def relist(target: Path, shipped: Path) -> None:
    """Renew the checksum of a checkpoint that was written beside the shipped one, or over it."""
    from qutils.files import checksums, sha256, write_text

    if target.parent != shipped.resolve().parent:
        return
    digests = checksums(target.parent) | {target.name: sha256(target)}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    write_text(target.parent / "SHA256SUMS", "".join(lines))


def _tell(trained: nn.Module, data: Dataset, target: Path) -> None:
    from qutils.evaluate import bench
    from qutils.files import sha256

    for split in (data.validation, data.test):
        batches = ((x.numpy(), y.numpy()) for x, y in split)
        accuracy = bench.evaluate(bench.predict_with(trained), batches)
        click.echo(f"{split.name:<10} top-1 {accuracy}")
    click.echo(f"{target}  SHA-256 {sha256(target)}")
