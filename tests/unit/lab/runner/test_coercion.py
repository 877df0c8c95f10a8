import ast
import math

import pytest

from qutils.lab.runner.coercion import MismatchError, Text, coerce, yaml_texts
from qutils.lab.runner.declared import parse_type


def kind(text: str):
    return parse_type(ast.parse(text, mode="eval").body)


@pytest.mark.parametrize(
    ("declared", "text", "expected"),
    [
        ("list[int]", "[2,4]", [2, 4]),
        ("list[str]", "[007, true]", ["007", "true"]),
        ("dict[str, float]", "{a: 1e-3}", {"a": 0.001}),
        ("bool", "True", True),
        ("str", "true", "true"),
        ("str", "007", "007"),
        ("str", "[2,4]", "[2,4]"),
        ("str", "nan", "nan"),
        ("int", "-3", -3),
        ("float", "1e-3", 0.001),
        ("float", "4", 4.0),
        ("int | None", "null", None),
        ("str | None", "x", "x"),
        ("int | str", "7", 7),
        ("Literal['smoke', 'full']", "full", "full"),
        ("list[Literal[2, 4]]", "[4]", [4]),
        ("Any", "[1, a, null]", [1, "a", None]),
        ("Any", "2.5", 2.5),
    ],
)
def test_text_becomes_the_declared_type(declared, text, expected):
    value = coerce(kind(declared), Text(text))
    assert value == expected
    assert type(value) is type(expected)


def test_nan_is_a_float_where_one_is_declared():
    assert math.isnan(coerce(kind("float"), Text("nan")))


@pytest.mark.parametrize(
    ("declared", "text", "mend"),
    [
        ("int", "4.0", "whole number"),
        ("int", "four", "whole number"),
        ("bool", "1", "true or false"),
        ("float", "fast", "a number"),
        ("list[int]", "2,4", "such as '\\[2, 4\\]'"),
        ("list[int]", "[2, x]", "element 1 is 'x', not int"),
        ("list[int]", "[2, ", "not valid YAML"),
        ("list[Literal[2, 4]]", "[9]", "choose from 2, 4"),
        ("Literal['smoke', 'full']", "ful", "did you mean 'full'.*smoke, full"),
        ("int | None", "x", "null or write a whole number"),
    ],
)
def test_text_of_another_type_is_refused(declared, text, mend):
    with pytest.raises(MismatchError, match=mend):
        coerce(kind(declared), Text(text))


@pytest.mark.parametrize(
    ("declared", "value"), [("float", 4), ("list[int]", (2, 4)), ("int | None", None), ("str", "7")]
)
def test_typed_value_is_taken(declared, value):
    expected = list(value) if isinstance(value, tuple) else value
    assert coerce(kind(declared), value) == expected


@pytest.mark.parametrize(
    ("declared", "value"),
    [("int", 4.0), ("int", True), ("str", 7), ("bool", 1), ("list[int]", [2, "4"]), ("float", "1")],
)
def test_typed_value_of_another_type_is_refused(declared, value):
    with pytest.raises(MismatchError):
        coerce(kind(declared), value)


def test_yaml_keeps_scalars_as_written():
    assert yaml_texts("{a: 007, b: [yes, 1e-3]}") == {"a": "007", "b": ["yes", "1e-3"]}


def test_yaml_builds_no_objects():
    assert yaml_texts("!!python/object/apply:os.system [x]") == ["x"]
