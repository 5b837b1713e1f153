"""Values in messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from sltune.system.supervisor import error_line
from sltune.wording import as_argument, printable, shown, spreadsheet_cell


def test_control_characters_are_shown_as_escapes() -> None:
    assert printable("a\x1b[31mb") == "a\\x1b[31mb"
    assert printable("two\nlines\r\x85") == "two\\nlines\\r\\x85"
    assert printable("\u202egnp.exe") == "\\u202egnp.exe"


def test_letters_of_any_alphabet_stay() -> None:
    assert printable("größe 名前 \U0001f600") == "größe 名前 \U0001f600"


def test_a_text_keeps_its_lines_and_nothing_else_that_moves_the_cursor() -> None:
    assert shown("a\x1b[2J\nb\r\n") == "a\\x1b[2J\nb\\r\n"


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
