"""How values of users and of strangers' files are shown in messages."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that move the cursor, change colours or the order of what is read; lines end by them, too.

Cs: bytes of a file's name that are not UTF-8, which cannot be written."""

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With these, some of them as wide as Chinese letters, spreadsheets begin formulas, or leave them out before one."""


def printable(text: str) -> str:
    """Return a text of one line as a terminal may show it: control characters as their escapes, the rest as it is."""
    return "".join(char if unicodedata.category(char) not in CONTROL else ascii(char)[1:-1] for char in text)


def shown(text: str) -> str:
    """Return a text of several lines as a terminal may show it; see printable."""
    return "\n".join(map(printable, text.split("\n")))


def spreadsheet_cell(value: Any) -> Any:
    """Return a value as a cell of a CSV file; a text that begins like a formula, which spreadsheets run, is quoted."""
    if not isinstance(value, str):
        return value
    return printable(f"'{value}" if value.startswith(FORMULAS) else value)


def as_argument(path: Path) -> str:
    """Return a path as a command takes it: what begins with a hyphen would be a flag."""
    return f"./{path}" if str(path).startswith("-") else str(path)
