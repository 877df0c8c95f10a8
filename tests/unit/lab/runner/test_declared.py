import ast

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.runner.declared import infer_type, parse_type


def parsed(text: str) -> str:
    return str(parse_type(ast.parse(text, mode="eval").body))


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("int", "int"),
        ("'list[int]'", "list[int]"),
        ("List[int]", "list[int]"),
        ("list", "list[Any]"),
        ("dict[str, float]", "dict[str, float]"),
        ("Optional[int]", "int | None"),
        ("Union[int, str, None]", "int | str | None"),
        ("int | None | int", "int | None"),
        ("typing.Literal['a', 2]", "Literal['a', 2]"),
        ("list[Literal[2, 4]]", "list[Literal[2, 4]]"),
    ],
)
def test_annotation_is_read(annotation, expected):
    assert parsed(annotation) == expected


@pytest.mark.parametrize(
    "annotation", ["Path", "tuple[int, ...]", "dict[int, str]", "f()", "list[int, str]"]
)
def test_unsupported_annotation_is_named(annotation):
    with pytest.raises(InvalidInputError, match="not supported; use int"):
        parsed(annotation)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "bool"),
        (1, "int"),
        ([1, 2.0], "list[float]"),
        ([], "list[Any]"),
        ({"a": 1}, "dict[str, int]"),
    ],
)
def test_type_follows_from_default(value, expected):
    assert str(infer_type(value)) == expected


def test_choices_inside_a_list_are_found():
    assert parse_type(ast.parse("list[Literal[2, 4]]", mode="eval").body).allowed() == (2, 4)
