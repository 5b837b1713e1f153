"""How a space file names something that takes parameters: ``rotation(degrees=5)``, ``losses.py:Focal(gamma=2)``."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Argument = bool | int | float | str

FORM = 'must have the form name or name(parameter=value, …); values are numbers, "strings", true or false'

_ARGUMENT = re.compile(r"""\s*([A-Za-z_]\w*)\s*=\s*("[^"]*"|'[^']*'|[-+.0-9A-Za-z]+)\s*(,|$)""", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Call:
    """A name, and what stands in parentheses behind it."""

    name: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)


def name_of(text: str) -> str:
    """Return the name in a call, whatever follows it."""
    return text.partition("(")[0].strip()


def column_of(text: str) -> str:
    """Return what a user's metric is called in tables: its name with its parameters, without the file."""
    return text.partition(":")[2].strip()


def parse_call(text: str) -> Call:
    """Return the name and the arguments that a text gives.

    Raises:
        ValueError: it has another form; says which it must have.
    """
    name, parenthesis, rest = name_of(text), *text.partition("(")[1:]
    arguments: dict[str, Argument] = {}
    if not parenthesis:
        return Call(name)
    if not rest.rstrip().endswith(")"):
        raise ValueError(FORM)
    content, place = rest.rstrip()[:-1].strip(), 0
    while place < len(content):
        found = _ARGUMENT.match(content, place)
        if found is None:
            raise ValueError(FORM)
        if found[1] in arguments:
            raise ValueError(f"{found[1]} is given twice")
        arguments[found[1]] = _value(found[2])
        place = found.end()
    return Call(name, arguments)


def _value(text: str) -> Argument:
    if text[0] in "\"'":
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[-+]?\d+", text, re.ASCII):
        return int(text)
    if not _FLOAT.fullmatch(text) or not math.isfinite(number := float(text)):
        raise ValueError(FORM)
    return number


def parameters_of(target: Any, positional: int = 0) -> list[str] | None:
    """Return the names of the arguments that something takes by name; None where it takes any.

    Args:
        positional: how many of the first ones it is always given by position.
    """
    # A module of torch's hands whatever it is given to its forward().
    target = target if isinstance(target, type) else getattr(target, "forward", target)
    try:
        parameters = list(inspect.signature(target).parameters.values())[positional:]
    except (TypeError, ValueError):
        # What is written in C may have none that Python knows of.
        return None
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
        return None
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in parameters if parameter.kind in by_name]


def takes(target: Any, name: str) -> bool:
    """Say whether something takes an argument of this name."""
    known = parameters_of(target)
    return known is None or name in known


def given_to(target: Any, **values: Any) -> dict[str, Any]:
    """Return those of some arguments that something takes."""
    return {name: value for name, value in values.items() if takes(target, name)}
