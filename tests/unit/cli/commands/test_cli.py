import click
import pytest
from click.testing import CliRunner

from qutils import cli
from qutils.errors import DataError, InvalidInputError


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name):
    result = CliRunner().invoke(cli.main, [name, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 3


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (InvalidInputError("bits is 9"), 2, "Error: bits is 9"),
        (DataError("corrupt"), 1, "Error: corrupt"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
)
def test_errors_become_exit_codes(error, code, shown):
    @click.command("fail")
    def fail() -> None:
        raise error

    group = cli.Commands("group")
    group.get_command = lambda ctx, name: fail  # type: ignore[method-assign]
    result = CliRunner().invoke(group, ["fail"])
    assert result.exit_code == code
    assert shown in result.output


def test_unknown_command_is_a_usage_error():
    assert CliRunner().invoke(cli.main, ["no-such"]).exit_code == 2


def test_an_unknown_command_is_told_with_the_closest_one():
    result = CliRunner().invoke(cli.main, ["quantise", "x"])
    assert result.exit_code == 2
    assert "unknown command 'quantise': did you mean 'quantize'?" in result.output


def test_runtimes_says_what_is_here_and_what_saturates():
    from qutils.backends.runtimes import RUNTIMES

    result = CliRunner().invoke(cli.main, ["runtimes"])
    assert result.exit_code == 0, result.output
    *listed, here = result.stdout.splitlines()
    for line, (name, entry) in zip(listed, RUNTIMES.items(), strict=True):
        assert line.split()[:3] == [
            name,
            entry.suffix,
            "installed" if entry.installed else "missing",
        ]
        assert line.endswith(f"saturates {entry.target.pair_sums}")
    assert here.startswith("This CPU")
