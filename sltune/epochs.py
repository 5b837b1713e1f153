"""The file ``epochs.csv`` of a trial: one row of metrics an epoch, counted from 1."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from sltune.errors import DataError
from sltune.files import append_whole, write_whole


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
        DataError: the file cannot be read, or is none such.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    try:
        rows = list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
    except csv.Error as error:
        raise DataError(f"{file}: is no table: {error}; delete the trial's folder to run it again") from error
    if not all((row.get("epoch") or "").isdigit() and None not in (*row, *row.values()) for row in rows):
        raise DataError(f"{file}: has a row without an epoch or a value; delete the trial's folder to run it again")
    return rows


def seconds_of(file: Path) -> float:
    """Return the time of all epochs in the file, those before an interruption too; raises as read_epochs does."""
    return sum(float(row.get("seconds") or 0) for row in read_epochs(file))
