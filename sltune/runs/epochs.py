"""The file ``epochs.csv`` of a trial: one row of metrics an epoch, counted from 1."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

from sltune.errors import DataError
from sltune.runs.metrics import LARGEST
from sltune.system.files import append_whole, read_plain, write_whole
from sltune.wording import printable

AGAIN = "delete the trial's folder to run it again"


def append_epoch(file: Path, row: Mapping[str, float], inside: Path | None = None) -> None:
    """Add the row of an epoch that follows those in the file.

    Args:
        inside: the run's folder; see ``files.whole_file``.

    Raises:
        UsageError: the file cannot be written.
    """
    text = io.StringIO()
    csv.DictWriter(text, fieldnames=list(row), lineterminator="\n").writerow(row)
    append_whole(file, text.getvalue(), inside)


def begin_epochs(file: Path, row: Mapping[str, float], inside: Path | None = None) -> None:
    """Start the file with an epoch, or cut off what a killed process had written of this epoch and later ones.

    Args:
        inside: as for append_epoch.

    Raises:
        UsageError: the file cannot be written.
    """
    earlier = [old for old in read_epochs(file) if int(old["epoch"]) < row["epoch"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(row), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows([*earlier, row])
    write_whole(file, text.getvalue(), inside)


def read_epochs(file: Path) -> list[dict[str, str]]:
    """Return the rows of the file, as texts; none where it does not exist. A line that a kill has torn is left out.

    Raises:
        DataError: the file cannot be read, is no such table, or has a value that is no metric; names the row.
    """
    try:
        text = read_plain(file).decode()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}; {AGAIN}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: cannot be read: {error}; {AGAIN}") from error
    try:
        rows = list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
    except csv.Error as error:
        raise DataError(f"{file}: is no table: {error}; {AGAIN}") from error
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values() or not re.fullmatch("[0-9]{1,9}", row.get("epoch", "")):
            raise DataError(f"{file}: row {number} has no epoch, or not as many values as the header; {AGAIN}")
        for name, value in row.items():
            if not _is_metric(value):
                raise DataError(
                    f"{file}: row {number}: {printable(name)} = {printable(value)[:60]}: is no metric; {AGAIN}"
                )
    return rows


def _is_metric(text: str) -> bool:
    """Say whether a text is a number that a metric may be; "" is what a row has where a metric is missing."""
    try:
        return not text or abs(float(text)) <= LARGEST
    except ValueError:
        return False


def seconds_of(file: Path) -> float:
    """Return the time of all epochs in the file, those before an interruption too; raises as read_epochs does."""
    return sum(float(row.get("seconds") or 0) for row in read_epochs(file))
