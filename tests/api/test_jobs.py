"""What calls take, what they leave as it was, and what they raise; trials are trained in this process."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path

import pytest
import ray

import sltune
from sltune.errors import ConfigError, DataError, Interrupted, SltuneError, UsageError
from sltune.system.places import STUDY_STORAGE
from sltune.tuning.cluster.environment import LOOPBACK_ONLY
from tests.tuning import in_process

pytestmark = pytest.mark.usefixtures("workplace")


def test_a_space_may_be_a_dict_and_a_dataset_an_object() -> None:
    space = {
        "sampling": {"time_bin_ms": 20, "train_crop": "start", "train_crop_ms": 200, "eval_crop_ms": "train"},
        "network": {"name": "nmnist-mlp2"},
        "training": {"epochs": 1},
        "evaluation": {"folds": 2, "seeds": (0,)},
    }
    run = sltune.evaluate(space, sltune.open_dataset("data"), progress=False)
    assert run.path.parent == Path("results")
    assert run.name.startswith("space-20")
    # What the run was given, and the sessions of the dataset.
    assert run.space == sltune.load_space(space, {"evaluation.sessions": ["S3"]})


def test_a_space_is_shown_as_a_file_would_have_it() -> None:
    space = sltune.load_space({"network": {"weights": "<w>.pt"}})
    assert repr(space) == "<Space 'space'>"
    assert "weights = &quot;&lt;w&gt;.pt&quot;" in space._repr_html_()


def test_overrides_are_values_or_texts_of_the_command_line() -> None:
    by_key = sltune.load_space("tiny.toml", {"training.epochs": 3, "network.name": "nmnist-mlp"})
    by_text = sltune.load_space("tiny.toml", ["training.epochs=3", "network.name=nmnist-mlp"])
    again = sltune.load_space(sltune.load_space("tiny.toml"), {"training.epochs": 3, "network.name": "nmnist-mlp"})
    assert by_key == by_text == again


def test_an_earlier_run_gives_a_configuration() -> None:
    run = sltune.evaluate(sltune.open_run("results/tiny").configuration("c0000"), "data", run="again", progress=False)
    assert run.space == sltune.open_run("results/tiny").space


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"space": "absent.toml"}, ConfigError, "absent.toml: 1 problem\n  - no such file"),
        ({"space": {"training": 5}}, ConfigError, r"training = 5: must be a table, \[training\]"),
        ({"overrides": {"training.epoch": 5}}, ConfigError, 'did you mean "epochs"'),
        ({"overrides": {"training.epochs": {"low": 1, "high": 2}}}, ConfigError, "training.epochs.* is searched"),
        ({"data": "absent"}, DataError, "absent: is not a dataset"),
        ({"run": "tiny"}, UsageError, "this run exists; go on with it by: sltune resume results/tiny"),
        ({"run": "a/b"}, UsageError, "--run must be the name of a folder"),
        ({"device": "gpu"}, UsageError, "--device must be one of auto, cpu, cuda, but got 'gpu'"),
        ({"cpus_per_trial": 0}, UsageError, "--cpus-per-trial must be at least 0.01, but got 0"),
        ({"max_concurrent": 0}, UsageError, "--max-concurrent must be at least 1, but got 0"),
        ({"gpus_per_trial": 0.4}, UsageError, "--gpus-per-trial must be 0, 1/k"),
        ({"checkpoints": "s3://key:secret@place/"}, UsageError, "--checkpoints s3://.*: a password or key must not"),
        ({"speed": 2}, TypeError, "speed"),
    ],
)
def test_what_is_wrong_is_said_before_there_is_a_run(
    changes: dict[str, object], kind: type[Exception], said: str
) -> None:
    before = set(Path("results").iterdir())
    with pytest.raises(kind, match=said):
        sltune.evaluate(**{"space": "tiny.toml", "data": "data", "run": "wrong", "progress": False, **changes})  # type: ignore[arg-type]
    assert set(Path("results").iterdir()) == before


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({}, ConfigError, "nothing is searched"),
        ({"nested": True, "earlier": "results/tiny"}, UsageError, "with --nested: an earlier run has seen the signers"),
        ({"nested": True, "study_storage": "sqlite:///x.db"}, UsageError, "--study-storage with --nested"),
    ],
)
def test_a_search_that_cannot_begin_is_refused(options: dict[str, object], kind: type[Exception], said: str) -> None:
    overrides = {"training.learning_rate": {"choices": [0.001, 0.01]}} if options else {}
    with pytest.raises(kind, match=said):
        sltune.tune("tiny.toml", "data", overrides=overrides, run="wrong", progress=False, **options)  # type: ignore[arg-type]


def test_a_search_learns_from_an_earlier_run_and_is_made_longer() -> None:
    searched = {"training.learning_rate": {"choices": [0.001, 0.01, 0.1]}, "search.trials": 1, "search.trainings": 2}
    earlier = sltune.open_run("results/tiny")
    run = sltune.tune("tiny.toml", "data", overrides=searched, run="short", progress=False, earlier=earlier)
    assert len(run.records()) == 2
    assert len(sltune.resume(run, trials=2, trainings=4, progress=False).records()) == 4


@pytest.mark.parametrize(
    ("options", "said"), [({"trainings": 5}, "is no search"), ({"folds": [7]}, "has the folds 0 to 1")]
)
def test_a_run_cannot_be_asked_for_what_it_cannot_do(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sltune.resume("results/tiny", progress=False, **options)  # type: ignore[arg-type]


def test_ctrl_c_is_an_error_of_ours_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    step, steps = in_process.Worker.step, iter(range(100))

    def interrupted(self: in_process.Worker) -> dict[str, object]:
        if next(steps) == 1:
            signal.raise_signal(signal.SIGINT)
        return step(self)

    monkeypatch.setattr(in_process.Worker, "step", interrupted)
    with pytest.raises(Interrupted, match="go on with: sltune resume results/stopped"):
        sltune.evaluate("tiny.toml", "data", run="stopped", progress=False)
    assert sltune.open_run("results/stopped").records()["status"].tolist() != ["done", "done"]
    assert sltune.resume("results/stopped", progress=False).records()["status"].tolist() == ["done", "done"]


def test_a_trial_that_fails_is_an_error_and_the_others_are_in_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    step = in_process.Worker.step

    def failing(self: in_process.Worker) -> dict[str, object]:
        if self._key.fold == 1:
            self._reports = (report for report in ())
        return step(self)

    monkeypatch.setattr(in_process.Worker, "step", failing)
    with pytest.raises(SltuneError, match="c0000-f1-s0: failed"):
        sltune.evaluate("tiny.toml", "data", run="half", progress=False)
    assert sltune.open_run("results/half").records()["status"].tolist() == ["done", "failed"]


def test_a_ray_that_others_have_imported_first_is_no_private_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv(LOOPBACK_ONLY, "1")
    with pytest.raises(UsageError, match="imported before sltune's first call"):
        sltune.evaluate("tiny.toml", "data", run="wrong", progress=False)
    monkeypatch.setenv(LOOPBACK_ONLY, "0")
    assert sltune.evaluate("tiny.toml", "data", run="private", progress=False).name == "private"


def test_the_process_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STUDY_STORAGE, "sqlite:///kept.db")
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    threads, variables = threading.active_count(), dict(os.environ)
    sltune.evaluate("tiny.toml", "data", run="tidy", progress=False)
    # Ray keeps what it was imported with.
    assert {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} == {
        name: value for name, value in variables.items() if not name.startswith("RAY_")
    }
    assert os.environ[STUDY_STORAGE] == "sqlite:///kept.db"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert threading.active_count() == threads


def test_without_progress_nothing_is_printed_and_messages_are_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "sltune"):
        sltune.evaluate("tiny.toml", "data", run="silent", progress=False)
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == ["to go on after any interruption: sltune resume results/silent"]


def test_elsewhere_than_on_a_terminal_progress_is_lines_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    sltune.evaluate("tiny.toml", "data", run="lines")
    out, error = capfd.readouterr()
    assert out == ""
    assert "c0000-f0-s0  epoch 2/2" in error
