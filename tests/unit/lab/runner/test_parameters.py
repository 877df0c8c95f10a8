import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from qutils.errors import InvalidInputError
from qutils.files import ROOT
from qutils.lab.runner.coercion import Text
from qutils.lab.runner.parameters import parse_parameters, read_parameters, resolve
from qutils.lab.site.site import tutorial_notebooks
from qutils.lab.studies import benchmark
from qutils.lab.studies.study import plan as study
from qutils.lab.studies.study.plan import METHODS
from qutils.numerics.observers import OBSERVERS
from qutils.numerics.schemes import GRANULARITIES, MAX_BITS, MIN_BITS
from qutils.zoo import MODELS
from tests.unit.lab.runner.toy import write_notebook

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
    assert "parameter 'profile' is Literal['smoke', 'full'], got 'ful'" in message
    assert "did you mean 'full'" in message


LIMITED = """
from typing import Literal
bits: int = 4  # 2..8, of the weights
widths: list[int] = [2, 8]  # 2..8
seeds: list[int] | None = None  # 0.. each
epochs: float | None = None  # above 0, of QAT
years: int = 1  # like 2..8, but anywhere
models: list[Literal["resnet8", "mobilenetv2"]] = ["resnet8"]
"""


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("bits", "9", "9 is not allowed, choose 2..8"),
        ("widths", "[4, 1]", "1 is not allowed, choose 2..8"),
        ("widths", "[]", "name at least one"),
        ("seeds", "[-1]", "-1 is not allowed, choose at least 0"),
        ("epochs", "0", "0.0 is not allowed, choose above 0"),
        ("epochs", "nan", "nan is not allowed"),
        ("epochs", "inf", "inf is not allowed"),
        ("models", "[resnet9]", "did you mean 'resnet8'\\? Choose from resnet8, mobilenetv2"),
        ("models", "[]", "name at least one"),
    ],
)
def test_values_that_are_not_allowed_are_refused(name, given, message):
    with pytest.raises(InvalidInputError, match=f"parameter '{name}' is .*{message}"):
        resolve(parse_parameters(LIMITED), {name: Text(given)})


def test_values_at_the_limits_are_allowed():
    given = {"bits": 8, "widths": [2], "seeds": [0], "epochs": 0.01, "years": 99}
    assert given.items() <= resolve(parse_parameters(LIMITED), given).items()
    assert resolve(parse_parameters(LIMITED), {"seeds": None})["seeds"] is None


def test_default_outside_its_own_limits_is_a_mistake():
    with pytest.raises(InvalidInputError, match="9 is not allowed"):
        parse_parameters("bits: int = 9  # 2..8")


def test_help_inside_parentheses_is_found():
    (found,) = parse_parameters('a: str = (\n    "x"  # what it is\n)')
    assert found.help == "what it is"


STUDY = {
    "models": MODELS, "methods": METHODS, "observers": OBSERVERS, "profile": study.PROFILES,
    "granularities": [name for name in GRANULARITIES if name != "per_group"],
}  # fmt: skip
BENCH = {"models": MODELS, "observers": OBSERVERS, "profile": benchmark.PROFILES}


@pytest.mark.parametrize(("name", "registries"), [("ptq_vs_qat", STUDY), ("bench", BENCH)])
def test_choices_of_the_report_notebooks_are_the_registries(name, registries):
    declared = read_parameters(ROOT / "notebooks" / "reports" / f"{name}.ipynb")
    choices = {p.name: set(p.choices) for p in declared if p.choices}
    assert choices == {key: set(registry) for key, registry in registries.items()}


TUTORIAL = {
    "profile": study.PROFILES, "model": MODELS, "models": MODELS, "method": METHODS,
    "observer": OBSERVERS, "granularity": GRANULARITIES, "mapping": ("affine", "symmetric"),
}  # fmt: skip
#: Any whole number; a name of one of many tensors; names that the notebook checks; folders, files.
UNLIMITED = {
    *("seed", "tensor", "runtimes", "calibration", "photographs"),
    *("weights", "data"),  # files, or names that Ultralytics fetches
}


@pytest.mark.parametrize("notebook", tutorial_notebooks(), ids=lambda path: path.stem)
def test_what_the_tutorial_takes_is_told_before_it_runs(notebook):
    """Names are those of the registries, numbers have limits, bits those of the library."""
    for parameter in read_parameters(notebook):
        limits = parameter.limits
        if parameter.name in TUTORIAL:
            assert parameter.choices == tuple(TUTORIAL[parameter.name]), parameter
        elif parameter.name.endswith("bits"):
            ends = (
                (limits.low, limits.high) if limits else parameter.choices[:: MAX_BITS - MIN_BITS]
            )
            assert MIN_BITS == ends[0] < ends[1] <= MAX_BITS, parameter
        else:
            told = limits or parameter.choices or parameter.name in UNLIMITED
            assert told, parameter
