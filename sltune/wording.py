"""How values of users and of strangers' files are shown in messages."""

from __future__ import annotations

import unicodedata
from pathlib import Path

CONTROL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that move the cursor, change colours or the order of what is read; lines end by them, too.

Cs: bytes of a file's name that are not UTF-8, which cannot be written."""


def printable(text: str) -> str:
    """Return a text of one line as a terminal may show it: control characters as their escapes, the rest as it is."""
    return "".join(char if unicodedata.category(char) not in CONTROL else ascii(char)[1:-1] for char in text)


def as_argument(path: Path) -> str:
    """Return a path as a command takes it: what begins with a hyphen would be a flag."""
    return f"./{path}" if str(path).startswith("-") else str(path)
