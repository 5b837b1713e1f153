"""Values in messages."""

from __future__ import annotations

from sltune.wording import printable


def test_control_characters_are_shown_as_escapes() -> None:
    assert printable("a\x1b[31mb") == "a\\x1b[31mb"
    assert printable("two\nlines\r\x85") == "two\\nlines\\r\\x85"
    assert printable("\u202egnp.exe") == "\\u202egnp.exe"


def test_letters_of_any_alphabet_stay() -> None:
    assert printable("größe 名前 \U0001f600") == "größe 名前 \U0001f600"
