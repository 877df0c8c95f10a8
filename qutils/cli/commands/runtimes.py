"""``qutils runtimes``: what runs exported files, whether it is here, and where it saturates."""

from __future__ import annotations

import click

from qutils.interrupt import nothing_begun


@click.command("runtimes")
def command() -> None:
    """List the runtimes: files, whether each is installed, and where its kernels saturate.

    x86 CPUs without VNNI add two products of 8-bit integers in 16 bits. Where a runtime has no
    switch against it, files have weights that cannot overflow (`qutils quantize
    --saturation-safe`), and compute the same on every CPU.
    """
    with nothing_begun():
        from qutils.backends.runtimes import RUNTIMES
        from qutils.backends.shared.cpu import has_vnni, saturates

    for name, entry in RUNTIMES.items():
        here = "installed" if entry.installed else "missing"
        click.echo(f"{name:<12} {entry.suffix:<8} {here:<10} saturates {entry.target.pair_sums}")
    if has_vnni():
        click.echo("This CPU has VNNI: nothing saturates here.")
    elif saturates():
        click.echo("This CPU has no VNNI, or its system does not say so.")
    else:
        click.echo("This CPU is none of x86, or has no AVX2: no kernel adds in 16 bits here.")
