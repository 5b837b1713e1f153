"""How messages show values: those of users, and those of files that may come from a stranger."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that move the cursor, change colours, reorder what is read or end a line.

Cs stands for bytes of a file's name that are not UTF-8, which cannot be written."""

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Spreadsheets take a cell for a formula if it begins with one of these; the last four are as wide as Chinese letters.

Some spreadsheets drop a tab or a line end before they look."""

MAX_TYPO_LENGTH = 100
"""A longer word is not a slip of the hand, and the time to compare words grows with their length."""

MAX_EXCERPT_LENGTH = 200
"""A wrong value can be as long as its file; an error should stay readable."""

MAX_DECIMAL_BITS = 4096
"""Python refuses to write much larger whole numbers in decimal."""


def printable(text: str) -> str:
    """Return a line as a terminal may show it: control characters become escapes."""
    return "".join(char if unicodedata.category(char) not in CONTROL else ascii(char)[1:-1] for char in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines as a terminal may show it; see ``printable``."""
    return "\n".join(map(printable, text.split("\n")))


def shortened(text: str, max_length: int) -> str:
    """Return a text of at most ``max_length`` characters. A longer one loses its middle: names differ at their ends."""
    tail = (max_length - 1) // 2
    return text if len(text) <= max_length else f"{text[: max_length - 1 - tail]}…{text[len(text) - tail :]}"


def excerpt(text: str) -> str:
    """Return what an error shows of a text that a stranger may have written: not too much, and no control characters.

    Of other values, give the ``repr``.
    """
    return printable(shortened(text, MAX_EXCERPT_LENGTH))


def first_of(texts: Sequence[str], count: int, see: str = "") -> list[str]:
    """Return the first ``count`` texts and, where some are left out, how many: ``… and 3 more``.

    Args:
        see: what follows these words, such as the place that has all of them.
    """
    hidden = len(texts) - count
    return [*texts[:count], *([f"{and_more(hidden)}{see}"] if hidden > 0 else [])]


def and_more(hidden: int) -> str:
    """Return the words for what is left out of a list."""
    return f"… and {hidden:,} more"


def counted(number: int, thing: str) -> str:
    """Return how many there are of a thing: 1 trial, 2,000 trials."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def in_hours(hours: float) -> str:
    """Return a time with two digits: 3.5 hours, 25 minutes; of hundreds of hours all digits."""
    if hours >= 1:
        return f"{hours:.2g} hours" if hours < 100 else f"{hours:,.0f} hours"
    return f"{max(60 * hours, 0.1):.2g} minutes"


def suggestion(word: str, known: Iterable[object], count: int = 1) -> str:
    """Return ``; did you mean "x"?`` with the known words that are most like this one, or nothing."""
    if len(word) > MAX_TYPO_LENGTH:
        return ""
    words = {name.lower(): name for name in known if isinstance(name, str)}
    near = difflib.get_close_matches(word.lower(), words, n=count)
    # user00_1 may be meant for user00_01, but hardly for user00_19, of which more letters are the same.
    if alike := [name for name in words if _plain(name) == _plain(word.lower())]:
        near = alike[:count]
    return f"; did you mean {' or '.join(as_toml(words[name]) for name in near)}?" if near else ""


def _plain(word: str) -> str:
    """Return a word with its numbers as they are without leading zeros."""
    return re.sub(r"[0-9]+", lambda found: str(int(found[0])), word)


def as_toml(value: object) -> str:
    """Return a value as a TOML file would write it."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            # JSON writes strings as TOML does, but for this character.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() if value.bit_length() > MAX_DECIMAL_BITS:
            return hex(value)
        case list() | tuple():
            return f"[{', '.join(map(as_toml, value))}]"
        case dict():
            items = ", ".join(f"{_toml_key(key)} = {as_toml(item)}" for key, item in value.items())
            return f"{{ {items} }}" if items else "{}"
    return str(value)


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else as_toml(key)


def spreadsheet_cell(value: Any) -> Any:
    """Return a value as a cell of a CSV file; a text that a spreadsheet would run as a formula is quoted."""
    if not isinstance(value, str):
        return value
    return printable(f"'{value}" if value.startswith(FORMULAS) else value)


def as_argument(path: object) -> str:
    """Return a path or URI as a command takes it: one that begins with a hyphen would be taken for a flag."""
    return f"./{path}" if str(path).startswith("-") else str(path)
