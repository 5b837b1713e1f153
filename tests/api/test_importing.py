"""Imports from Python: what they say, refuse, and leave after Ctrl-C."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

import sltune
from sltune.api import importing
from sltune.errors import DataError, Interrupted, UsageError
from sltune.events.importing import Imported

pytestmark = pytest.mark.usefixtures("workplace")


def test_each_file_is_a_line_on_stderr_unless_nothing_is_to_be_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sltune.import_recordings("recordings", tmp_path / "silent", progress=False)
    assert capfd.readouterr() == ("", "")
    dataset = sltune.import_recordings("recordings", tmp_path / "shown")
    assert "user00_indoor: 19 samples" in capfd.readouterr().err
    assert dataset.manifest.fingerprint == sltune.open_dataset(tmp_path / "silent").manifest.fingerprint


def test_an_import_that_was_stopped_is_finished_by_the_same_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, lines = importing._line, iter(range(100))

    def press(done: Imported) -> str:
        if next(lines) == 1:
            signal.raise_signal(signal.SIGINT)
        return line(done)

    monkeypatch.setattr(importing, "_line", press)
    with pytest.raises(Interrupted, match="the same call goes on"):
        sltune.import_recordings("recordings", tmp_path / "data")
    with pytest.raises(DataError, match="is not a dataset"):
        sltune.open_dataset(tmp_path / "data")
    assert len(sltune.import_recordings("recordings", tmp_path / "data", progress=False)) == 76


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("recordings", {"kind": "slanimal"}, "slanimals"),
        (None, {}, "SRC"),
        ("recordings", {"root": "there"}, "--root"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(
    tmp_path: Path, source: str | None, options: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        sltune.import_recordings(source, tmp_path / "data", **options)  # type: ignore[arg-type]


def test_a_labs_own_recordings_are_imported_from_a_listing(tmp_path: Path) -> None:
    events = np.array([(5, 1, 0, 1), (9, 3, 2, 0)], [("t", "i8"), ("x", "u2"), ("y", "u2"), ("p", "u1")])
    np.save(tmp_path / "anna.npy", events)
    (tmp_path / "signs.csv").write_text("file,label,subject\nanna.npy,wave,anna\n")
    options = {"kind": "table", "time_unit": "ms", "sensor": "4x3", "progress": False}
    dataset = sltune.import_recordings(tmp_path / "signs.csv", tmp_path / "data", **options)  # type: ignore[arg-type]
    assert dataset[0].subject == "anna"
    assert (dataset.manifest.sensor, dataset.manifest.durations_ms["max"]) == ((3, 4), 4.0)
