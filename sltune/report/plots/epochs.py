"""The rows of ``epochs.csv`` as far as they are whole: a run under way may be writing them."""

from __future__ import annotations

import csv
from pathlib import Path

from sltune.runs.metrics import LARGEST
from sltune.system.files import read_plain

Rows = dict[int, dict[str, float]]
"""Metrics by epoch, counted from 1."""


def read_rows(file: Path) -> Rows:
    """Return the whole rows of a file, only values that metrics may have; none where there is no file."""
    try:
        text = read_plain(file).decode(errors="replace")
    except OSError:
        return {}
    try:
        header, *lines = [*csv.reader(text[: text.rfind("\n") + 1].splitlines())] or [[]]
    except csv.Error:
        return {}
    rows = {}
    for line in lines:
        values = _values(header, line)
        if (epoch := int(values.pop("epoch", 0))) > 0:
            rows[epoch] = values
    return rows


def _values(header: list[str], line: list[str]) -> dict[str, float]:
    """Return the numbers of a line by their columns; none where a part of it is missing."""
    if len(line) != len(header):
        return {}
    try:
        numbers = [float(text) for text in line]
    except ValueError:
        return {}
    return {name: number for name, number in zip(header, numbers, strict=True) if abs(number) <= LARGEST}
