"""When a trial has lost too many workers, and when a worker has been silent for too long."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest
from ray.tune.experiment import Trial

from sltune.runs.record import TrialKey
from sltune.tuning.cluster.resources import Request
from sltune.tuning.execution.liveness import START_PATIENCE_S, Losses, Waits, Watch, worker_of


class Clock:
    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    Clock.now = 0.0
    monkeypatch.setattr("sltune.tuning.execution.liveness.time.monotonic", lambda: Clock.now)
    return Clock


def lose(losses: Losses, times: int) -> list[bool]:
    found = []
    for _ in range(times):
        losses.start()
        losses.lose()
        found.append(losses.too_many)
    return found


def test_three_workers_in_a_row_are_too_many(clock: type[Clock]) -> None:
    assert lose(Losses(), 3) == [False, False, True]


def test_a_trial_that_gets_further_each_time_may_lose_any_number(clock: type[Clock]) -> None:
    losses = Losses()
    for epoch in range(1, 20):
        losses.reach(epoch)
        assert lose(losses, 2) == [False, False]
    # The same epochs again, from a checkpoint, are no progress.
    losses.reach(18)
    losses.reach(19)
    assert lose(losses, 1) == [True]


def test_workers_that_never_start_do_not_count_until_patience_ends(clock: type[Clock]) -> None:
    losses = Losses()
    for _ in range(100):
        assert not losses.lose()
        assert not losses.too_many
    clock.now = START_PATIENCE_S + 1
    losses.lose()
    assert losses.too_many


@dataclass(eq=False)
class Running:
    """Stands in for a trial of Tune's. worker: None while it waits for a place."""

    worker: str | None

    @property
    def temporary_state(self) -> SimpleNamespace:
        return SimpleNamespace(ray_actor=self.worker)


def watching(limit_s: float) -> Watch:
    return Watch(limit_s, lambda trial: trial.worker)  # type: ignore[attr-defined]


def test_only_workers_are_silent_and_each_is_named_once(clock: type[Clock]) -> None:
    running, waiting, busy = (cast(Trial, Running(worker)) for worker in ("a", None, "b"))
    watch = watching(10)
    for one in (running, waiting, busy):
        watch.add(one)
    clock.now = 9
    watch.seen(busy)
    assert watch.silent() == []
    clock.now = 11
    assert watch.silent() == [(running, "a")]
    clock.now = 12.5
    assert watch.silent() == []
    watch.forget(running)
    watch.forget(busy)
    clock.now = 1000
    assert watch.silent() == []


def test_a_limit_of_zero_waits_for_ever(clock: type[Clock]) -> None:
    watch, one = watching(0), cast(Trial, Running("a"))
    watch.add(one)
    clock.now = 1e9
    assert watch.silent() == []


def test_what_is_waited_for_is_told_every_30_s_while_no_trial_has_a_place(clock: type[Clock]) -> None:
    waits, first, second = Waits(), TrialKey("c0000", 0, 0), TrialKey("c0000", 0, 1)

    def told(until: int) -> list[float]:
        times = []
        while clock.now < until:
            clock.now += 1
            if waits.is_due():
                times.append(clock.now)
        return times

    assert told(100) == []
    waits.begin(first)
    waits.begin(second)
    assert told(170) == [130, 160]
    assert waits.words(Request(gpus_per_trial=0.5)) == "2 trials wait for 1 CPUs and 0.5 GPUs each"
    # The second may wait for the first one's place.
    waits.place(first)
    assert told(300) == []
    waits.end(first)
    assert told(340) == [330]
    waits.end(second)
    assert told(500) == []


def test_a_worker_counts_from_when_it_is_begun_and_not_only_from_when_it_is_ready() -> None:
    """Of Tune's, what is read: the actor of each trial, and the handle of each actor that was begun."""
    begun, waiting = Running(None), Running(None)
    controller = SimpleNamespace(
        _trial_to_actor={begun: "first", waiting: "second"},
        _actor_manager=SimpleNamespace(_live_actors_to_ray_actors_resources={"first": ("handle", "CPU")}),
    )
    assert [worker_of(controller, cast(Trial, trial)) for trial in (begun, waiting)] == ["handle", None]
