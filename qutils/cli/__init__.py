"""The command ``qutils``: finds its subcommands in ``qutils.cli.commands`` when they are asked for.

Exit codes: 0 fine, 1 a notebook or another thing failed, 2 usage, 130 interrupted, 138 the kernel
died.
"""

from __future__ import annotations

import importlib
import re
from importlib import metadata
from typing import Any

import click

from qutils.errors import InvalidInputError, QutilsError, not_installed, unknown_name
from qutils.interrupt import INTACT, INTERRUPTED, nothing_begun

#: Each is a module of ``qutils.cli.commands`` that holds one ``click.Command`` named ``command``.
COMMANDS = (
    "animate",
    "app",
    "bench",
    "check",
    "detector",
    "drag",
    "engine",
    "explain",
    "lab",
    "params",
    "quantize",
    "report",
    "run",
    "runtimes",
    "site",
    "timings",
    "train",
)


class UsageFailure(click.ClickException):
    """Something the user gave cannot be used."""

    exit_code = 2


class Commands(click.Group):
    """Imports a subcommand when it is used, so that ``qutils params`` does not wait for torch."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; an unknown name is told with the closest one."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UsageFailure(str(unknown_name("command", args[0], COMMANDS)))
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        with nothing_begun():
            try:
                command = importlib.import_module(f"qutils.cli.commands.{cmd_name}").command
            except ModuleNotFoundError as error:
                return _unavailable(cmd_name, error)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; errors that users meet become a message and an exit code."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if (explained := _explained(error)) is error:
                raise
            raise click.ClickException(str(explained)) from error
        except KeyboardInterrupt:
            click.echo(INTACT, err=True)
            ctx.exit(INTERRUPTED)
        except InvalidInputError as error:
            raise UsageFailure(str(error)) from error
        except QutilsError as error:
            raise click.ClickException(str(error)) from error


def _unavailable(name: str, error: ModuleNotFoundError) -> click.Command:
    """Return a command that says what it needs, whatever its arguments."""
    explained = _explained(error)

    def refuse() -> None:
        raise explained from error

    anything = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    return click.Command(name, context_settings=anything, callback=refuse, help=str(explained))


def _explained(error: ModuleNotFoundError) -> Exception:
    """Return the error, or, for a package that notebooks and reports need, how to install it."""
    package = (error.name or "").split(".")[0]
    if package not in _of_reports():
        return error
    return not_installed(package, "make report, or pip install -e '.[report]'")


def _of_reports() -> set[str]:
    """Return the packages of the ``report`` extra, and those that they bring along."""
    rows = metadata.requires("quantization-lab") or []
    own = (row.partition(";") for row in rows)
    names = {re.split(r"\W", name)[0] for name, _, marker in own if "report" in marker}
    return names | {"IPython", "jupyter_client", "traitlets"}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quantization-lab", prog_name="qutils")
def main() -> None:
    """Quantization Lab: post-training quantization against quantization-aware training."""
