"""Group the samples of a dataset, so that no fold trains on one sample of a group and tests on another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from sltune.errors import UsageError
from sltune.wording import first_of, suggestion

FOLDER = "folder"
PATH = "path:"
SAMPLE = "sample"
# Among the datasets of Tonic 1.7, only DVSGesture lists who is seen in a sample.
DEFAULT_FIELD = "users"
MAX_SHOWN_CLASSES = 5
"""A set may have hundreds of classes; the first few show how they are called."""


class Listed(Protocol):
    """A sample as it is listed: its path below the root and its folder ("" without a file), and what else is known."""

    @property
    def sample_id(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def folder(self) -> str: ...

    @property
    def fields(self) -> Mapping[str, Any]: ...


def group(
    entries: Sequence[Listed], labels: Sequence[int], group_by: str | None, default: str = DEFAULT_FIELD
) -> tuple[list[str], list[int]]:
    """Return the group of each sample, and the classes that occur in one group only.

    Args:
        group_by: the name of a field, ``folder``, ``sample`` for each alone, or ``path:REGEX``, whose first group in
            parentheses is matched in the sample's path below the dataset's root. None: by default.
        default: the name of a field; without it, each sample is alone.

    Raises:
        UsageError: there is no such field, a path does not match, or each group is a class.
    """
    fields = [name for name in entries[0].fields if all(name in entry.fields for entry in entries)]
    if (group_by or default) not in fields and group_by in (None, SAMPLE):
        return [entry.sample_id for entry in entries], []
    group_by = group_by or default
    names = _named(entries, fields, group_by)
    of_class: dict[int, set[str]] = {}
    of_group: dict[str, set[int]] = {}
    for label, name in zip(labels, names, strict=True):
        of_class.setdefault(label, set()).add(name)
        of_group.setdefault(name, set()).add(label)
    alone = sorted(label for label, groups in of_class.items() if len(groups) == 1)
    if group_by != default and len(alone) == len(of_class) == len(of_group) > 1 and len(names) > len(of_group):
        text = f"--group-by {group_by}: each group is one class, which would then be in one fold only"
        raise UsageError(f"{text}; {_offer(entries, fields)}")
    return names, alone


def say_alone(classes: Sequence[str]) -> str:
    """Return the words for classes that occur in one group only."""
    names = ", ".join(first_of(classes, MAX_SHOWN_CLASSES))
    return f"no fold can both train and test {len(classes)} classes that lie in one group only: {names}"


def _named(entries: Sequence[Listed], fields: Sequence[str], group_by: str) -> list[str]:
    is_files = all(entry.path for entry in entries)
    if group_by in fields:
        return [_name(group_by, entry.fields[group_by]) for entry in entries]
    if group_by == FOLDER and is_files:
        return [entry.folder for entry in entries]
    if group_by.startswith(PATH) and is_files:
        return _by_path(entries, group_by)
    if group_by in ("targets", "label"):
        text = "holds the classes, each of which would be in one fold only"
    elif group_by == FOLDER or group_by.startswith(PATH):
        text = "the samples lie in no files of their own"
    elif any(group_by in entry.fields for entry in entries):
        lacking = next(entry.sample_id for entry in entries if group_by not in entry.fields)
        text = f"sample {lacking} has none; fill it in for every sample"
    else:
        text = f"there is no such field{suggestion(group_by, [*fields, FOLDER, SAMPLE])}"
    raise UsageError(f"--group-by {group_by}: {text}; {_offer(entries, fields)}")


def _by_path(entries: Sequence[Listed], group_by: str) -> list[str]:
    try:
        pattern = re.compile(group_by.removeprefix(PATH))
    except re.error as error:
        raise UsageError(f"--group-by {group_by}: is not a regular expression: {error}") from error
    if not pattern.groups:
        text = r"has no group in parentheses, such as path:subject(\d+)"
        raise UsageError(f"--group-by {group_by}: {text}; the first path is {entries[0].path}")
    names = []
    for entry in entries:
        match = pattern.search(entry.path)
        if match is None or not match[1]:
            raise UsageError(f"--group-by {group_by}: does not match {entry.path}")
        names.append(match[1])
    return names


def _offer(entries: Sequence[Listed], fields: Sequence[str]) -> str:
    of_files = [FOLDER, f"{PATH}REGEX"] if all(entry.path for entry in entries) else []
    return f"the dataset offers {', '.join([*fields, *of_files, SAMPLE])}"


def _name(field: str, value: Any) -> str:
    """Return user03 for the 3 among users."""
    return f"{field.removesuffix('s')}{value:02d}" if isinstance(value, int | np.integer) else str(value)
