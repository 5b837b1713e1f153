"""Names with parameters, as space files write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sltune.extensions.calls import Argument, Call, column_of, given_to, parse_call, takes


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("mse", "mse", {}),
        ("losses.py:Focal", "losses.py:Focal", {}),
        ("losses.py:Focal()", "losses.py:Focal", {}),
        (" a.b:C ( x = 1 ,y=-.5e1) ", "a.b:C", {"x": 1, "y": -5.0}),
        ("f(a=true, b=false)", "f", {"a": True, "b": False}),
        ("""f(a="x=1, (y)", b='"')""", "f", {"a": "x=1, (y)", "b": '"'}),
        ("f(a=1.0)", "f", {"a": 1.0}),
    ],
)
def test_a_call_is_a_name_and_its_arguments(text: str, name: str, arguments: dict[str, Argument]) -> None:
    call = parse_call(text)
    assert call == Call(name, arguments)
    assert [type(value) for value in call.arguments.values()] == [type(value) for value in arguments.values()]


@pytest.mark.parametrize(
    "text",
    ["f(", "f(1)", "f(a)", "f(a=)", "f(a=1", "f(a=1,,)", "f(,a=1)", "f(a=1 b=2)", "f(a=1, a=2)", "f(a=x)", "f(a=nan)",
     "f(a=1e400)", "f(a=1_0)", "f(a=[1])", "f(a='x)", "f(a=1)(b=2)", "f(a=1))", "f(1a=2)", "f(a=None)"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must have the form|is given twice"):
        parse_call(text)


names = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_characters='"'))


@given(st.dictionaries(names, st.booleans() | numbers | texts, max_size=4))
def test_what_is_written_is_what_is_read(arguments: dict[str, Argument]) -> None:
    def written(value: Argument) -> str:
        return f'"{value}"' if isinstance(value, str) else repr(value).lower()

    text = ", ".join(f"{name}={written(value)}" for name, value in arguments.items())
    assert parse_call(f"f({text})").arguments == arguments


def test_only_what_is_taken_is_given() -> None:
    def some(a: int, b: int = 0) -> None: ...
    def all_of_them(**more: int) -> None: ...

    assert given_to(some, b=1, c=2) == {"b": 1}
    assert given_to(all_of_them, b=1, c=2) == {"b": 1, "c": 2}
    assert takes(some, "a")
    assert not takes(some, "c")
    # What is written in C says nothing, and may take anything.
    assert takes(dict, "a")
    assert column_of("metrics.py:top(k=3)") == "top(k=3)"
