"""What is said of a trial, in words and in JSON."""

from __future__ import annotations

import json

from sltune.progress.messages import epoch_ended, goes_again, started, to_json, trial_ended
from sltune.runs.record import TrialKey
from tests.trials import epoch, record

KEY = TrialKey("c0000", 0, 1)


def test_words_begin_with_the_trial_and_with_its_run_where_there_are_several() -> None:
    assert started(KEY).words() == "c0000-f1-s0  started"
    assert goes_again(KEY, "its worker was lost").words("crops") == "crops/c0000-f1-s0  its worker was lost"
    assert epoch_ended(KEY, epoch(3, 0.625), 40).words() == (
        "c0000-f1-s0  epoch 3/40  val accuracy 62.5 %  100 samples/s"
    )
    assert epoch_ended(KEY, epoch(3), 0).words().split("  ")[1] == "epoch 3/?"


def test_an_end_is_said_with_its_accuracy_or_with_its_reason() -> None:
    done = record("c0000-f1-s0", 0.5)
    assert trial_ended(done, shows_test=True).words() == "c0000-f1-s0  done  test accuracy 40.0 %"
    assert trial_ended(done, shows_test=False).words() == "c0000-f1-s0  done  validation accuracy 50.0 %"
    failed = record("c0000-f1-s0", status="failed", error="Traceback:\n  ValueError: too small\n")
    assert trial_ended(failed, shows_test=True).words() == "c0000-f1-s0  failed:   ValueError: too small"


def test_json_holds_the_event_and_the_numbers() -> None:
    assert started(KEY).event() == {"trial": "c0000-f1-s0", "event": "start"}
    assert goes_again(KEY, "lost").event("crops") == {
        "run": "crops", "trial": "c0000-f1-s0", "event": "again", "reason": "lost"
    }  # fmt: skip
    assert epoch_ended(KEY, epoch(3), 40).event()["epoch"] == 3
    said = trial_ended(record("c0000-f1-s0", 0.5), shows_test=True).event()
    assert (said["event"], said["status"], said["metrics"]["test_accuracy"]) == ("finish", "done", 0.4)


def test_events_of_a_search_hold_nothing_of_the_test_part_either() -> None:
    metrics = {"val_accuracy": 0.5, "val_loss": 1.0, "test_accuracy": 0.4, "confusion": [[1]], "anything_new": 1}
    said = trial_ended(record("c0000-f1-s0", metrics=metrics), shows_test=False).event()
    assert said["metrics"] == {"val_accuracy": 0.5, "val_loss": 1.0}


def test_every_line_is_json_whatever_the_numbers() -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    line = to_json({"a": float("nan"), "b": {"c": [1.5, float("-inf")]}, "d": "ü\n"})
    assert "\n" not in line
    assert json.loads(line, parse_constant=refuse) == {"a": None, "b": {"c": [1.5, None]}, "d": "ü\n"}
