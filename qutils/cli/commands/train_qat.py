"""What ``qutils train MODEL --qat W4A4`` does: the study's own training, kept as a checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from qutils.errors import InvalidInputError


def default_name(model: str, bits: tuple[int, int]) -> str:
    """File name without suffix, as the shipped checkpoints are called."""
    from qutils.zoo import QatCheckpoint

    return QatCheckpoint(model, *bits).name


def train_qat(
    model: str, bits: tuple[int, int], epochs: float | None, seed: int | None, target: Path
) -> None:
    """Train as the report does, or reuse what it trained, and write the state to ``target``.

    Raises:
        InvalidInputError: the seed or the epochs are of no use.
    """
    from qutils import zoo
    from qutils.files import atomic_path, sha256
    from qutils.lab.results.cache import Cache
    from qutils.lab.studies.study import run_jobs
    from qutils.lab.studies.study.plan import checkpoint_job

    made = zoo.QatCheckpoint(model, *bits)
    job = checkpoint_job(made, seed=seed, epochs=epochs)
    click.echo(
        f"{model} {made.recipe.label}: {job.epochs:g} epochs from the PTQ model ({made.observer}, "
        f"{made.granularity}, {job.calibration_pictures} calibration pictures), seed {job.seed}",
        err=True,
    )
    cache = Cache()
    outcome = run_jobs([job], cache)[job]
    cache.announce()
    with atomic_path(target) as temporary:
        temporary.write_bytes(Path(outcome["state"]).read_bytes())
    click.echo(f"test       top-1 {outcome['top1_simulated']:.2f} % simulated (n = {outcome['n']})")
    if outcome["top1_integer"] is not None:
        click.echo(f"test       top-1 {outcome['top1_integer']:.2f} % integer, ONNX Runtime")
    click.echo(f"{target}  SHA-256 {sha256(target)}")


def refuse_threads(threads: int) -> None:
    """QAT of the report has one thread: another count would give other weights.

    Raises:
        InvalidInputError: more were asked for.
    """
    if threads != 1:
        raise InvalidInputError(
            "--qat repeats a training of the report, which has one thread: leave --threads out"
        )
