import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from qutils.errors import InvalidInputError
from qutils.experiments.coercion import Text
from qutils.experiments.parameters import parse_parameters, read_parameters, resolve
from tests.unit.experiments.toy import write_notebook

SOURCE = """
from typing import Literal
bits: list[int] = [
    2,  # narrow
    4,
]  # widths, e.g. = 2 and 4
profile: Literal["smoke", "full"] = "smoke"  # how long
name: str | None = None
rate = -1e-3  # step
limit: float = float("inf")
"""


def test_cell_is_parsed_in_order():
    found = {p.name: p for p in parse_parameters(SOURCE)}
    assert list(found) == ["bits", "profile", "name", "rate", "limit"]
    assert found["bits"].help == "widths, e.g. = 2 and 4"
    assert found["profile"].choices == ("smoke", "full")
    assert found["name"].default is None
    assert (str(found["rate"].type), found["rate"].default) == ("float", -0.001)
    assert found["limit"].default == float("inf")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x: int", "line 1.*only 'name: type"),
        ("x = 1\nprint(x)", "line 2"),
        ("x = y = 1", "line 1"),
        ("x = 2 * 3 + z", "write a literal"),
        ("x: int = 'a'", "'x' is int, got 'a'"),
        ("x = 1\nx = 2", "declared twice"),
        ("%matplotlib inline", "not Python"),
    ],
)
def test_what_cannot_be_a_parameter_is_refused(source, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_parameters(source)


def test_no_tagged_cell_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="no code cell is tagged"):
        read_parameters(write_notebook(tmp_path / "a.ipynb", "x = 1", parameters=None))


def test_two_tagged_cells_are_refused(tmp_path):
    cells = [new_code_cell("x = 1", metadata={"tags": ["parameters"]}) for _ in range(2)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "a.ipynb")
    with pytest.raises(InvalidInputError, match="cells 0, 1 are tagged"):
        read_parameters(tmp_path / "a.ipynb")


@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_file_that_is_no_notebook_is_refused(tmp_path, content):
    (tmp_path / "a.ipynb").write_text(content)
    with pytest.raises(InvalidInputError, match="not a notebook|no code cell"):
        read_parameters(tmp_path / "a.ipynb")


def test_missing_notebook_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="no notebook at"):
        read_parameters(tmp_path / "a.ipynb")


def test_defaults_are_filled_in():
    values = resolve(parse_parameters(SOURCE), {"bits": Text("[8]")})
    assert values["bits"] == [8]
    assert values["profile"] == "smoke"


def test_every_problem_is_named_at_once():
    with pytest.raises(InvalidInputError) as caught:
        resolve(parse_parameters(SOURCE), {"bit_widht": Text("4"), "profile": Text("ful")})
    message = str(caught.value)
    assert "unknown parameter 'bit_widht': did you mean 'bits'?" in message
    assert "parameter 'profile' is Literal['smoke', 'full'], got 'ful': choose from" in message
