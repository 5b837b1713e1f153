"""The file ``epochs.csv`` of a trial: one row of metrics an epoch, counted from 1."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sltune.errors import DataError
from sltune.runs.metrics import LARGEST
from sltune.system.files import append_whole, read_plain, write_whole
from sltune.wording import excerpt

AGAIN = "delete the trial's folder to run it again"
EpochRow = Mapping[str, float]
"""The metrics of an epoch by their columns; ``epoch`` counts from 1."""


def append_epochs(file: Path, rows: Sequence[EpochRow], inside: Path | None = None) -> None:
    """Add the rows of epochs that follow those in the file; at least one.

    Args:
        inside: the run's folder; see ``files.whole_file``.

    Raises:
        UsageError: the file cannot be written.
    """
    text = io.StringIO()
    csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n").writerows(rows)
    append_whole(file, text.getvalue(), inside)


def begin_epochs(file: Path, rows: Sequence[EpochRow], inside: Path | None = None) -> None:
    """Start the file with epochs, at least one, or cut off what a killed process had written of them and later ones.

    Args:
        inside: as for append_epochs.

    Raises:
        UsageError: the file cannot be written.
    """
    earlier = [old for old in read_epochs(file) if old["epoch"] < rows[0]["epoch"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows([*earlier, *rows])
    write_whole(file, text.getvalue(), inside)


def read_epochs(file: Path, skip_bad: bool = False) -> list[EpochRow]:
    """Return the rows of the file; none where it does not exist.

    A line that a kill has torn is left out, and so is a value that an older version did not write.

    Args:
        skip_bad: leave out what cannot be read, instead of refusing it.

    Raises:
        DataError: the file cannot be read, is no such table, or has a value that is no metric; names the row.
    """
    rows = []
    try:
        for number, values in enumerate(_lines(file), start=1):
            try:
                rows.append(_row(values))
            except ValueError as error:
                if not skip_bad:
                    raise DataError(f"{file}: row {number}{error}; {AGAIN}") from error
    except DataError:
        if not skip_bad:
            raise
    return rows


def _lines(file: Path) -> Iterable[dict[str | None, Any]]:
    """Return the lines of the file by their columns, as texts.

    Raises:
        DataError: it cannot be read, or is no table.
    """
    try:
        text = read_plain(file).decode()
        return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}; {AGAIN}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: cannot be read: {error}; {AGAIN}") from error
    except csv.Error as error:
        raise DataError(f"{file}: is no table: {error}; {AGAIN}") from error


def _row(values: Mapping[str | None, Any]) -> EpochRow:
    """Return the numbers of a line.

    Raises:
        ValueError: a part of it is missing or is no metric; says which.
    """
    if None in values or None in values.values() or not re.fullmatch("[0-9]{1,9}", values.get("epoch", "")):
        raise ValueError(" has no epoch, or not as many values as the header")
    return {str(name): _number(str(name), text) for name, text in values.items() if text}


def _number(name: str, text: str) -> float:
    try:
        # Whole numbers stay whole, so that a row that is written again is the same.
        if abs(float(text)) <= LARGEST:
            return int(text) if text.isdecimal() else float(text)
    except ValueError:
        pass
    raise ValueError(f": {excerpt(name)} = {excerpt(text)}: is no metric")


def seconds_of(file: Path) -> float:
    """Return the time of all epochs in the file, those before an interruption too; raises as read_epochs does."""
    return sum(row.get("seconds", 0) for row in read_epochs(file))
