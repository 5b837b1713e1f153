"""The file of a trial's epochs: only a plain file, whose values are metrics, is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sltune.errors import DataError
from sltune.runs.epochs import append_epochs, begin_epochs, read_epochs, seconds_of


def test_epochs_are_read_back_and_those_of_a_killed_process_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "epochs.csv"
    begin_epochs(file, [{"epoch": 1, "seconds": 2.5}])
    append_epochs(file, [{"epoch": 2, "seconds": 1.5}])
    assert seconds_of(file) == 4.0
    begin_epochs(file, [{"epoch": 2, "seconds": 3.0}])
    with file.open("a") as handle:
        handle.write("3,0.")
    assert read_epochs(file) == [{"epoch": 1, "seconds": 2.5}, {"epoch": 2, "seconds": 3.0}]


def test_rows_that_are_written_again_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "epochs.csv"
    begin_epochs(file, [{"epoch": 1, "seconds": 0.1 + 0.2, "device_memory_bytes": 12345678901}])
    before = file.read_text()
    begin_epochs(file, [{"epoch": 2, "seconds": 2e-07, "device_memory_bytes": 0}])
    assert file.read_text() == f"{before}2,2e-07,0\n"


def test_rows_are_read_as_far_as_they_are_whole_where_bad_ones_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "epochs.csv"
    assert read_epochs(file, skip_bad=True) == []
    file.write_text("epoch,val_loss\n1,0.5\n2\n3,abc\n4,nan\n5,0.25\n6,0.1")
    assert read_epochs(file, skip_bad=True) == [{"epoch": 1, "val_loss": 0.5}, {"epoch": 5, "val_loss": 0.25}]
    file.write_text("epoch,val_l")
    assert read_epochs(file, skip_bad=True) == []


def test_a_value_that_an_older_version_did_not_write_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "epochs.csv"
    file.write_text("epoch,seconds,synaptic_ops\n1,2.5,\n2,2.5,8.0\n")
    assert read_epochs(file) == [{"epoch": 1, "seconds": 2.5}, {"epoch": 2, "seconds": 2.5, "synaptic_ops": 8.0}]


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
    assert {row["epoch"] for row in read_epochs(file, skip_bad=True)} <= {1, 2}


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "epochs.csv")
    with pytest.raises(DataError, match=r"epochs\.csv: cannot be read: is a device, pipe or socket"):
        read_epochs(tmp_path / "epochs.csv")
    assert read_epochs(tmp_path / "epochs.csv", skip_bad=True) == []
