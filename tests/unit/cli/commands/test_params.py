from click.testing import CliRunner

from qutils.cli import main
from tests.unit.lab.runner.toy import write_notebook


def test_parameters_are_listed(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb")
    result = CliRunner().invoke(main, ["params", str(notebook)])
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert lines == [
        "NAME TYPE DEFAULT",
        "profile Literal['smoke', 'default', 'full'] 'default' how long it takes",
        "bits list[int] [2, 4] 2..8, widths = many",
        "rate float 0.5",
    ]


def test_missing_notebook_is_a_usage_error(tmp_path):
    result = CliRunner().invoke(main, ["params", str(tmp_path / "a.ipynb")])
    assert result.exit_code == 2
    assert "no notebook at" in result.output
