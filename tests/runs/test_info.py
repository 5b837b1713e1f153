"""run.json is read whole or refused by the name of what is wrong in it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sltune.errors import DataError
from sltune.runs import info
from sltune.runs.folder import RunFolder
from sltune.runs.info import RunInfo, read_info, write_info
from sltune.runs.record import TrialKey

EVALUATION: dict[str, Any] = {
    "schema": 1,
    "name": "paper",
    "kind": "evaluate",
    "command": ["sltune", "evaluate"],
    "dataset": {"name": "N-MNIST", "synthetic": False, "fingerprint": "ab", "classes": ["0", "1"], "path": "/data"},
    "trials": ["c0000-f1-s0", "c0000-f0-s0", "c0000-f0-s3"],
    "git_commit": None,
}
SEARCH = {key: value for key, value in EVALUATION.items() if key != "trials"} | {
    "kind": "tune",
    "steps": [[0, 0], [0, 1]],
    "study": {"storage": None, "name": "paper"},
    "best": "c0003",
}


def folder(root: Path, content: Any) -> RunFolder:
    (root / "run.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return RunFolder(root)


def test_planned_trials_keep_their_order(tmp_path: Path) -> None:
    run = folder(tmp_path, EVALUATION)
    assert [key.name for key in read_info(run).planned(run)] == EVALUATION["trials"]


def test_those_of_a_search_are_all_steps_of_each_configuration_that_has_begun(tmp_path: Path) -> None:
    run = folder(tmp_path, SEARCH)
    for name in ("c0010-f0-s0", "c0002-f1-s0", "c0002-f0-s0.bak"):
        (run.trials / name).mkdir(parents=True)
    steps = [("c0002", 0), ("c0002", 1), ("c0010", 0), ("c0010", 1)]
    assert read_info(run).planned(run) == [TrialKey(config_id, 0, fold) for config_id, fold in steps]


@pytest.mark.parametrize("values", [EVALUATION, SEARCH])
def test_it_is_written_as_it_was_read_with_what_later_versions_say(tmp_path: Path, values: dict[str, Any]) -> None:
    run = folder(tmp_path, {**values, "colour": "blue"})
    info = read_info(run)
    write_info(run, info)
    assert read_info(run) == info
    assert json.loads(run.run_json.read_text())["colour"] == "blue"
    assert json.loads(run.run_json.read_text())["schema"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 7}, "name = 7"),
        ({"kind": "train"}, "kind = 'train'"),
        ({"command": "sltune demo"}, "command = 'sltune demo'"),
        ({"dataset": None}, "dataset = None"),
        ({"dataset": {**EVALUATION["dataset"], "classes": []}}, "dataset.classes"),
        ({"versions": {"torch": None}}, "versions.torch = None"),
        ({"git_commit": "; rm -rf"}, "git_commit = "),
        ({"trials": None}, "'trials'"),
        ({"trials": None, "steps": [[0, 0]]}, "'trials'"),
        ({"kind": "tune"}, "'steps'"),
        ({"trials": 3}, "trials = 3"),
        ({"trials": "c0000-f0-s0"}, "trials = "),
        ({"trials": ["c0000-f0-s0", "fold 1"]}, "'fold 1' is not the name of a trial"),
        ({"trials": [7]}, "trials.0 = 7"),
        ({"trials": None, "steps": [[0, 1.5]]}, "steps.0.1 = 1.5"),
        ({"trials": None, "steps": [[0, -1]]}, "steps.0.1 = -1"),
        ({"trials": None, "steps": [[0]]}, "steps.0"),
        ({"best": "c0"}, "best = 'c0'"),
        ({"study": {"storage": 3, "name": "x"}}, "study.storage = 3"),
        ({"checkpoints": {"minutes": "5", "run": "x"}}, "checkpoints.minutes = '5'"),
        ({"host": ["a"]}, "host = "),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    run = folder(tmp_path, EVALUATION | change)
    with pytest.raises(DataError) as caught:
        read_info(run)
    assert f"{run.run_json}: not a description of a run: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"packages": []}', "has no 'schema'; not written by sltune"),
        ("[]", "holds no JSON object"),
        ("{", "not JSON"),
        ('{"schema": 2}', r"schema 2 is newer than this sltune reads \(1\); update sltune"),
        ('{"schema": true}', "has no 'schema'"),
        ('{"schema": 1, "name": ' + "[" * 100_000, "recursion limit exceeded"),
        ('{"schema": ' + "9" * 5000 + "}", "not JSON"),
        ('{"schema": 1, "name": "a\\ud800"}', "not JSON"),
        ('{"schema": 1, "x": NaN}', "expected value at line 1 column 20"),
    ],
)
def test_what_is_no_run_json_is_refused(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_info(folder(tmp_path, content))


@pytest.mark.parametrize(
    "content",
    [b'{"schema": 1, "name": "\xed\xa0\x80"}', '{"schema": 1, "name": "\\ud800"}'.encode("utf-16")],
    ids=["a byte sequence", "an escape in UTF-16"],
)
def test_half_a_surrogate_pair_is_refused_in_any_encoding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(DataError, match="not JSON"):
        read_info(RunFolder(tmp_path))


def test_another_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"run\.json: cannot be read: No such file or directory; is this a run folder\?"
    ):
        read_info(RunFolder(tmp_path))


def test_what_is_wrong_is_said_in_one_short_line_that_a_terminal_can_show(tmp_path: Path) -> None:
    run = folder(tmp_path, EVALUATION | {"trials": ["\x1b[31m" + "x" * 10_000] * 1000, "kind": "\n"})
    with pytest.raises(DataError) as caught:
        read_info(run)
    text = str(caught.value)
    assert len(text) < 2000
    assert text.isprintable()


def test_a_short_file_makes_no_long_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sltune.runs.info.MAX_TRIALS", 100)
    run = folder(tmp_path, SEARCH | {"steps": [[seed, 0] for seed in range(40)]})
    for number in range(3):
        (run.trials / f"c{number:04d}-f0-s0").mkdir(parents=True)
    with pytest.raises(DataError, match="has more than 100 trials"):
        read_info(run).planned(run)


def test_a_name_says_which_run_it_is() -> None:
    assert RunInfo.model_validate(SEARCH).is_search
    assert not RunInfo.model_validate(EVALUATION).is_search


def test_the_commit_is_that_of_the_sources_whatever_repository_a_command_is_run_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook of git tells commands its repository by variables."""
    own = info._git_commit()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert info._git_commit() == own
    # A copy of the sources in a repository of something else.
    (tmp_path / "copy" / "sltune" / "runs").mkdir(parents=True)
    (tmp_path / "copy" / "pyproject.toml").touch()
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_WORK_TREE")
    monkeypatch.setattr(info, "__file__", str(tmp_path / "copy" / "sltune" / "runs" / "info.py"))
    assert info._git_commit() is None
