"""Checkpoints that workers keep where all nodes reach them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sltune.errors import UsageError
from sltune.runs.record import TrialKey
from sltune.tuning.cluster.resources import Request
from sltune.tuning.trial.checkpoints import Checkpoints

KEY = TrialKey("c0003", 0, 1)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_checkpoint_is_read_back_until_the_trial_has_ended(tmp_path: Path, scheme: str) -> None:
    place = Checkpoints(0, f"{scheme}{tmp_path}/deep/er", "run")
    assert place.read(KEY) is None
    place.write(KEY, b"first")
    place.write(KEY, b"second")
    assert place.read(KEY) == b"second"
    # Another run at the same place has its own.
    assert Checkpoints(0, f"{scheme}{tmp_path}/deep/er", "other").read(KEY) is None
    assert [file.name for file in (tmp_path / "deep" / "er").rglob("*") if file.is_file()] == ["c0003-f1-s0.pt"]
    place.delete(KEY)
    assert place.read(KEY) is None
    place.delete(KEY)


def test_a_place_that_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"--checkpoints .*file: .* cannot be written"):
        Checkpoints(0, str(tmp_path / "file"), "run").check()
    with pytest.raises(UsageError, match=r"--checkpoints nonsense://x: nonsense.* is no URI that Arrow opens"):
        Checkpoints(0, "nonsense://x", "run").check()
    good = Checkpoints(0, str(tmp_path / "good"), "run")
    good.check()
    assert not [file for file in (tmp_path / "good").rglob("*") if file.is_file()]


def test_checkpoints_are_due_by_the_minute() -> None:
    assert not Checkpoints(5).is_due(299)
    assert Checkpoints(5).is_due(300)
    assert Checkpoints(0).is_due(0)


def test_a_place_is_the_same_from_every_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Request(checkpoints="states").checkpoints_of("run").place == str(tmp_path / "states")
    assert Request(checkpoints="s3://bucket/states").checkpoints_of("run").place == "s3://bucket/states"
    assert Request().checkpoints_of("run").place is None


def test_looking_whether_a_place_can_be_written_to_leaves_nothing_there(tmp_path: Path) -> None:
    Checkpoints(5, str(tmp_path / "states"), "run").check()
    assert [file.name for file in tmp_path.rglob("*")] == ["states", "run"]


@pytest.mark.parametrize("link", ["ck/run", "ck/run/.probe", "ck/run/c0000-f0-s0.pt"])
def test_no_link_below_the_place_is_followed(tmp_path: Path, link: str) -> None:
    """The place may lie in a folder that somebody has handed on."""
    mine, key = tmp_path / "mine", TrialKey("c0000", 0, 0)
    mine.mkdir()
    (mine / "c0000-f0-s0.pt").write_text("kept")
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(mine / "c0000-f0-s0.pt" if link.endswith(".pt") else mine)
    checkpoints = Checkpoints(0, str(tmp_path / "ck"), "run")
    if link.endswith(".pt"):
        checkpoints.write(key, b"x")
        assert checkpoints.read(key) == b"x"
    else:
        with pytest.raises(UsageError, match=r"cannot be written: .* is a link, through which nothing is written"):
            checkpoints.check()
    assert [file.name for file in mine.iterdir()] == ["c0000-f0-s0.pt"]
    assert (mine / "c0000-f0-s0.pt").read_text() == "kept"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_named_pipe_in_place_of_a_checkpoint_is_refused(tmp_path: Path, scheme: str) -> None:
    place = Checkpoints(0, f"{scheme}{tmp_path}", "run")
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / f"{KEY.name}.pt")
    with pytest.raises(UsageError, match="cannot be read: is a device, pipe or socket, not a plain file"):
        place.read(KEY)
