"""TOML text that may come from a stranger, and tables as TOML text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sltune.errors import ConfigError
from sltune.system.files import read_plain
from sltune.wording import as_toml, suggestion

MAX_SPACE_BYTES = 1 << 20
"""A space file with a thousand configurations to try first takes a fifth of this."""
MAX_DEPTH = 10
"""Tables and lists of a valid space file are nested less than half as deep."""

# The time to parse a dotted key grows with the square of its parts, so a key of 64 parts is refused before parsing.
_LONG_KEY = re.compile(r"""(?<![\w"'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){64}""")


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        ValueError: the text is not TOML, or nested deeper than a space file needs.
    """
    try:
        tables = {} if (is_deep := _LONG_KEY.search(text) is not None) else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not TOML: {error}") from error
    if is_deep or _depth(tables) > MAX_DEPTH:
        raise ValueError(f"tables are nested more than {MAX_DEPTH} deep; settings have the form section.key")
    return tables


def toml_file(tables: Mapping[str, Mapping[str, object]], comments: Mapping[str, str] | None = None) -> str:
    """Return the text of a TOML file with these tables; a comment, by ``table.key``, follows its value."""
    ends = {key: f"  # {comment}" for key, comment in (comments or {}).items()}
    blocks = (
        [f"[{name}]", *(f"{key} = {_item(value)}{ends.get(f'{name}.{key}', '')}" for key, value in table.items())]
        for name, table in tables.items()
    )
    return "\n\n".join(map("\n".join, blocks)) + "\n"


def _item(value: object) -> str:
    """Return a value of a table; in a list of tables, each is a line."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "\n    ".join(["[", *(f"{as_toml(table)}," for table in value)]) + "\n]"
    return as_toml(value)


def flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Give the items of nested tables, with keys such as ``training.epochs``."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _depth(tables: object) -> int:
    """Return how deep tables and lists are nested. No recursion: a hostile file would exceed Python's limit."""
    depth, level = 0, [tables]
    while level and depth <= MAX_DEPTH:
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level, depth = [item for items in inner for item in items], depth + 1
    return depth


def shipped_spaces() -> Path:
    """Return where the space files lie that come with sltune: in an installed package, or in a source tree."""
    package = Path(__file__).parents[1]
    installed = package / "search_spaces"
    return installed if installed.is_dir() else package.parent / "search_spaces"


def shipped_file(path: Path) -> Path | None:
    """Return the file that comes with sltune for a name such as best.toml, where there is no such file here."""
    shipped = shipped_spaces() / path.name
    return shipped if path == Path(path.name) and not path.exists() and shipped.is_file() else None


def space_text(path: Path, file: Path) -> str:
    """Return the text of a space file, which errors name by the path that a user has given.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return read_plain(file, MAX_SPACE_BYTES).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(str(path), [f"no such file{_like_shipped(path.name)}"]) from error
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(str(path), [f"line {line}: byte {error.object[error.start]:#04x} is not UTF-8"]) from error


def _like_shipped(name: str) -> str:
    """Return a hint at the files that come with sltune, and at the one that a name is like."""
    known = sorted(file.name for file in shipped_spaces().glob("*.toml"))
    return f"{suggestion(name, known)}; those that come with sltune: {', '.join(known)}"
