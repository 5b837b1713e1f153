"""Values in messages."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sltune.system.supervisor import error_line
from sltune.wording import (
    as_argument,
    as_toml,
    counted,
    excerpt,
    first_of,
    in_hours,
    printable,
    printable_lines,
    shortened,
    spreadsheet_cell,
    suggestion,
)


def test_control_characters_are_shown_as_escapes() -> None:
    assert printable("a\x1b[31mb") == "a\\x1b[31mb"
    assert printable("two\nlines\r\x85") == "two\\nlines\\r\\x85"
    assert printable("\u202egnp.exe") == "\\u202egnp.exe"


def test_letters_of_any_alphabet_stay() -> None:
    assert printable("größe 名前 \U0001f600") == "größe 名前 \U0001f600"


def test_a_text_keeps_its_lines_and_nothing_else_that_moves_the_cursor() -> None:
    assert printable_lines("a\x1b[2J\nb\r\n") == "a\\x1b[2J\nb\\r\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_a_spreadsheet_takes_no_cell_for_a_formula(text: str) -> None:
    assert str(spreadsheet_cell(text)).startswith("'")
    assert not set(str(spreadsheet_cell(text))) & {"\t", "\r", "\n"}


def test_numbers_and_plain_texts_are_cells_as_they_are() -> None:
    assert [spreadsheet_cell(value) for value in (-0.5, 3, None, "a=b", "f0-s0:81.25")] == [
        -0.5,
        3,
        None,
        "a=b",
        "f0-s0:81.25",
    ]


def test_an_error_cannot_move_the_cursor() -> None:
    assert error_line("a\x1b[2J:\n  - b", 3, as_json=False) == "sltune: a\\x1b[2J:\n  - b"


def test_a_path_is_no_flag() -> None:
    assert [as_argument(Path(path)) for path in ("-x", "a/-x", "/-x")] == ["./-x", "a/-x", "/-x"]


@pytest.mark.parametrize(("length", "expected"), [(8, "abcdefgh"), (7, "abc…fgh"), (6, "abc…gh"), (2, "a…"), (1, "…")])
def test_a_text_that_is_too_long_loses_its_middle(length: int, expected: str) -> None:
    assert shortened("abcdefgh", length) == expected


def test_an_excerpt_is_short_and_cannot_move_the_cursor() -> None:
    assert excerpt("a\x1b[2J") == "a\\x1b[2J"
    assert excerpt("a" * 150 + "b" * 150) == "a" * 100 + "…" + "b" * 99


def test_of_many_texts_the_first_are_shown_and_the_others_counted() -> None:
    assert first_of(["a", "b"], 2) == ["a", "b"]
    assert first_of(["a", "b", "c", "d"], 2) == ["a", "b", "… and 2 more"]
    assert first_of(["a", "b", "c"], 2, ", see x") == ["a", "b", "… and 1 more, see x"]


def test_a_suggestion_is_made_only_for_a_like_word() -> None:
    assert suggestion("epoch", ["epochs", "patience"]) == '; did you mean "epochs"?'
    assert suggestion("x", ["epochs", "patience"]) == ""
    assert suggestion("a_3", ["A_1", "a_2", "other"], 2) == '; did you mean "a_2" or "A_1"?'
    assert suggestion("x" * 101, ["x" * 101]) == ""


@settings(deadline=None)
@given(
    st.recursive(
        st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab.é-_", min_size=1), inner),
    )
)
def test_values_are_shown_as_toml(value: Any) -> None:
    assert tomllib.loads(f"value = {as_toml(value)}")["value"] == value


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0.001, "0.1 minutes"),
        (0.25, "15 minutes"),
        (3.456, "3.5 hours"),
        (250.4, "250 hours"),
        (12345.0, "12,345 hours"),
    ],
)
def test_times_are_said_in_minutes_or_hours(hours: float, words: str) -> None:
    assert in_hours(hours) == words


def test_one_is_no_plural() -> None:
    assert [counted(number, "trial") for number in (0, 1, 2000)] == ["0 trials", "1 trial", "2,000 trials"]


def test_a_number_without_its_zeros_is_meant_rather_than_another_one() -> None:
    known = [f"user00_indoor_{number:02d}" for number in range(1, 20)]
    assert suggestion("user00_indoor_1", known, 3) == '; did you mean "user00_indoor_01"?'
