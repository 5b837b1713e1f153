"""What a worker leaves behind between its jobs, and when it says what."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sltune.training.process_state import kept_state
from sltune.tuning.cluster.resources import Request
from sltune.tuning.execution.batching import UnsentRows
from sltune.tuning.execution.worker import REPORT, TrialWorker
from sltune.tuning.trial.checkpoints import Checkpoints
from sltune.tuning.trial.report import Report


def job() -> Generator[Report, None, None]:
    """A job that changes torch and waits for its next epoch."""
    with kept_state():
        torch.set_default_dtype(torch.float64)
        yield Report("running")


def test_a_job_that_is_left_puts_back_at_once_what_it_changed() -> None:
    """Not when somebody collects garbage, perhaps in the middle of the next job."""
    worker = object.__new__(TrialWorker)
    worker._reports = held = job()
    next(held)
    assert torch.get_default_dtype() == torch.float64
    worker.cleanup()
    assert torch.get_default_dtype() == torch.float32
    assert list(held) == []


class Worker(TrialWorker):
    """A worker without Ray, whose epochs take the given times by the clock of the test."""

    def __init__(self, epochs: list[float], clock: SimpleNamespace, minutes: float = 5, keep: str = "all") -> None:
        self._clock, self._times = clock, epochs
        self._shared: Any = SimpleNamespace(checkpoints=Checkpoints(minutes), request=Request(keep_weights=keep))
        self._unsaved, self._started, self._saved = None, 0.0, clock.now
        self._unsent = UnsentRows()
        self._reports = self._trained()

    def _trained(self) -> Generator[Report, None, None]:
        for number, seconds in enumerate(self._times, start=1):
            self._clock.now += seconds
            state = f"after {number}".encode()
            yield Report("running", rows=[{"epoch": number}], checkpoint=lambda state=state: state)
        yield Report("done", metrics={"val_accuracy": 0.5}, weights=b"w")

    def _hardware(self) -> dict[str, Any]:
        return {}

    def _versions(self) -> dict[str, str]:
        return {}

    def said(self) -> Iterator[tuple[float, list[float], str, bytes | None]]:
        """Give the time, the epochs, the status and the checkpoint of every message."""
        while True:
            result = self.step()
            report, checkpoint = result[REPORT]
            yield self._clock.now, [row["epoch"] for row in report.rows], report.status, checkpoint
            if result.get("done"):
                return


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def test_short_epochs_travel_together_once_a_second_and_the_last_ones_with_the_result(clock: SimpleNamespace) -> None:
    said = list(Worker([0.25] * 10, clock).said())
    assert said == [
        (101.0, [1, 2, 3, 4], "running", None),
        (102.0, [5, 6, 7, 8], "running", None),
        (102.5, [9, 10], "done", None),
    ]


def test_long_epochs_travel_as_soon_as_they_end(clock: SimpleNamespace) -> None:
    said = list(Worker([0.5, 30.0, 2.0], clock).said())
    assert said == [(130.5, [1, 2], "running", None), (132.5, [3], "running", None), (132.5, [], "done", None)]


def test_a_trial_that_waits_for_a_busy_driver_sends_fewer_and_larger_messages(clock: SimpleNamespace) -> None:
    """It trains three times as long as it waits, so that many trials do not all stand still behind one driver."""
    said = []
    for message in Worker([0.25] * 24, clock).said():
        said.append(message)
        clock.now += 1.0
    assert [(time, len(rows), status) for time, rows, status, _ in said] == [
        (101.0, 4, "running"), (105.0, 12, "running"), (108.0, 8, "done")
    ]  # fmt: skip


def test_all_rows_up_to_a_checkpoint_travel_with_it(clock: SimpleNamespace) -> None:
    """Its epochs are not trained again, so that a row that came later would be lost by a kill in between."""
    said = list(Worker([0.25] * 9, clock, minutes=1.5 / 60).said())
    assert said == [
        (101.0, [1, 2, 3, 4], "running", None),
        (101.5, [5, 6], "running", b"after 6"),
        (102.25, [7, 8, 9], "done", None),
    ]


def test_a_checkpoint_after_every_epoch_is_a_message_after_every_epoch(clock: SimpleNamespace) -> None:
    said = list(Worker([0.25] * 2, clock, minutes=0).said())
    assert [one[1:] for one in said] == [
        ([1], "running", b"after 1"),
        ([2], "running", b"after 2"),
        ([], "done", None),
    ]


@pytest.mark.parametrize(("keep", "sent"), [("all", b"w"), ("best", b"w"), ("none", None)])
def test_weights_that_nobody_keeps_do_not_travel(clock: SimpleNamespace, keep: str, sent: bytes | None) -> None:
    (report, _) = Worker([], clock, keep=keep).step()[REPORT]
    assert report.weights == sent
