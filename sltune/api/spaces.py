"""Spaces for notebooks: from a file, or from a dict."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sltune.settings.space import Space, parse_space
from sltune.settings.space import load_space as read_space
from sltune.wording import as_toml

SpaceLike = Space | str | os.PathLike[str] | Mapping[str, Any]
"""A space, the path of a space file, or its tables as a dict."""
Overrides = Mapping[str, Any] | Sequence[str]
"""Values by their keys, such as {"training.epochs": 10}, or texts as ``--set`` takes them."""


def load_space(space: SpaceLike, overrides: Overrides = ()) -> Space:
    """Return a configuration, or a space in which values are searched, from a file or a dict.

    >>> import sltune
    >>> sltune.load_space("tiny.toml", {"training.epochs": 3}).settings["training.epochs"]
    3
    >>> sltune.load_space({"neuron": {"decay": {"low": 0.1, "high": 0.9}}})
    <Space 'space': searches neuron.decay>

    Raises:
        ConfigError: the file cannot be read, or something is wrong in it; names every problem.
    """
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={as_toml(value)}" for key, value in overrides.items()]
    if isinstance(space, Space):
        # Without the user's code that the space may have read: in a notebook it changes from call to call.
        again = replace(space)
        return parse_space(again.to_toml(), again.source, overrides, again.folder) if overrides else again
    if isinstance(space, Mapping):
        text = "".join(f"{as_toml(str(table))} = {as_toml(settings)}\n" for table, settings in space.items())
        return parse_space(text, "space", overrides)
    return read_space(Path(space), overrides)
