"""The file of a trial's epochs: only a plain file, whose values are metrics, is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sltune.errors import DataError
from sltune.report.plots.epochs import read_rows
from sltune.runs.epochs import append_epoch, begin_epochs, read_epochs, seconds_of


def test_epochs_are_read_back_and_those_of_a_killed_process_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "epochs.csv"
    begin_epochs(file, {"epoch": 1, "seconds": 2.5})
    append_epoch(file, {"epoch": 2, "seconds": 1.5})
    assert seconds_of(file) == 4.0
    begin_epochs(file, {"epoch": 2, "seconds": 3.0})
    with file.open("a") as handle:
        handle.write("3,0.")
    assert read_epochs(file) == [{"epoch": "1", "seconds": "2.5"}, {"epoch": "2", "seconds": "3.0"}]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("²,1.0", "row 1 has no epoch"),
        (f"{'9' * 5000},1.0", "row 1 has no epoch"),
        ("1,1.0\n-2,1.0", "row 2 has no epoch"),
        ("1", "row 1 has no epoch, or not as many values as the header"),
        ("1,1.0,2.0", "row 1 has no epoch, or not as many values as the header"),
        ("1,1.0\n2,nan", "row 2: seconds = nan: is no metric"),
        ("1,inf", "row 1: seconds = inf: is no metric"),
        ("1,1e19", "row 1: seconds = 1e19: is no metric"),
        ("1,\x1b[31m", r"row 1: seconds = \\x1b\[31m: is no metric"),
        (f"1,{'9' * 200_000}", "is no table: field larger than field limit"),
    ],
)
def test_values_that_no_epoch_has_are_named(tmp_path: Path, rows: str, said: str) -> None:
    file = tmp_path / "epochs.csv"
    file.write_text(f"epoch,seconds\n{rows}\n")
    with pytest.raises(DataError, match=rf"epochs\.csv: {said}.*; delete the trial's folder to run it again"):
        read_epochs(file)
    # Plots leave out what they cannot draw.
    assert set(read_rows(file)) <= {1, 2}


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "epochs.csv")
    with pytest.raises(DataError, match=r"epochs\.csv: cannot be read: is a device, pipe or socket"):
        read_epochs(tmp_path / "epochs.csv")
    assert read_rows(tmp_path / "epochs.csv") == {}
