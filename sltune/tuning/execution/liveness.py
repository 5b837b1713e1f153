"""Which workers hang, which trials wait or have lost too many workers: what Ray and Tune leave to their users."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial

from sltune.runs.record import TrialKey
from sltune.tuning.cluster.resources import Request

MAX_LOSSES = 3
"""Workers that a trial may lose without getting further before it counts as failed: it may be what kills them."""
START_PATIENCE_S = 180.0
"""For a worker to start: for a while Ray goes on placing workers on a dead node, where none ever does."""
SECONDS_BETWEEN_LOOKS = 1.0
"""Limits are minutes, so one look a second is exact enough, and Tune's loop, which asks far more often, stays fast."""
SECONDS_BETWEEN_WORDS = 30.0
"""Often enough that nobody takes a waiting run for one that hangs, and seldom enough that a log stays readable."""


class Losses:
    """How often a trial has lost its worker, and since when none has started.

    They count from when it last got further than ever: on nodes that come and go, a long trial may lose many.
    """

    def __init__(self) -> None:
        self._count = 0
        self._farthest = 0
        self._has_started = False
        self._since = time.monotonic()

    def start(self) -> None:
        """Note that a worker has begun with the trial, or has hung before it could."""
        self._has_started = True

    def reach(self, epoch: int) -> None:
        """Note an epoch that the trial has ended."""
        if epoch > self._farthest:
            self._farthest, self._count = epoch, 0

    def lose(self) -> bool:
        """Note a loss; return whether it was of a worker that had begun, and so counts."""
        counts, self._has_started = self._has_started, False
        if counts:
            self._count += 1
            self._since = time.monotonic()
        return counts

    @property
    def too_many(self) -> bool:
        """Whether the trial should not be tried again."""
        return self._count >= MAX_LOSSES or time.monotonic() - self._since > START_PATIENCE_S


class Waits:
    """Knows which trials wait for a place while none has one: on a cluster, the jobs of others may hold all of it."""

    def __init__(self) -> None:
        self._waiting: set[TrialKey] = set()
        self._placed: set[TrialKey] = set()
        self._told = time.monotonic()

    def begin(self, key: TrialKey) -> None:
        self._waiting.add(key)

    def place(self, key: TrialKey) -> None:
        self._waiting.discard(key)
        self._placed.add(key)

    def end(self, key: TrialKey) -> None:
        self._waiting.discard(key)
        self._placed.discard(key)

    def is_due(self) -> bool:
        """Say whether it is time to tell what is waited for."""
        now = time.monotonic()
        waits = bool(self._waiting) and not self._placed
        is_due = waits and now - self._told >= SECONDS_BETWEEN_WORDS
        if is_due or not waits:
            self._told = now
        return is_due

    def words(self, request: Request) -> str:
        """Return what is waited for."""
        return f"{len(self._waiting)} trials wait for {request.cpus:g} CPUs and {request.gpus:g} GPUs each"


def worker_of(controller: Any, trial: Trial) -> Any:
    """Return the actor of a trial, also while it is set up for its first trial; None while it waits for a place.

    Tune tells of an actor only once it is ready, which one that hangs in its set-up never is.
    """
    tracked = controller._trial_to_actor.get(trial)
    actor, _ = controller._actor_manager._live_actors_to_ray_actors_resources.get(tracked, (None, None))
    return actor or trial.temporary_state.ray_actor


class Watch:
    """Knows how long trials that have a worker have been silent.

    A worker may hang while it is set up or trains; to wait for a place is no silence.

    Args:
        worker_of: returns the worker of a trial; None while it waits for a place.
    """

    def __init__(self, limit_s: float, worker_of: Callable[[Trial], Any]) -> None:
        self._limit_s = limit_s
        self._worker_of = worker_of
        self._heard: dict[Trial, float] = {}
        self._looked = time.monotonic()

    def add(self, trial: Trial) -> None:
        self._heard[trial] = time.monotonic()

    def seen(self, trial: Trial) -> None:
        if trial in self._heard:
            self._heard[trial] = time.monotonic()

    def forget(self, trial: Trial) -> None:
        self._heard.pop(trial, None)

    def waiting(self) -> list[Trial]:
        """Return the trials that have no worker yet."""
        return [trial for trial in self._heard if self._worker_of(trial) is None]

    def silent(self) -> list[tuple[Trial, Any]]:
        """Return trials that were silent for too long, and their workers; each once until it is heard of again."""
        now = time.monotonic()
        if not self._limit_s or now - self._looked < min(SECONDS_BETWEEN_LOOKS, self._limit_s):
            return []
        self._looked = now
        workers = {trial: self._worker_of(trial) for trial in self._heard}
        for trial, worker in workers.items():
            if worker is None:
                self._heard[trial] = now
        late = [trial for trial, heard in self._heard.items() if now - heard > self._limit_s]
        for trial in late:
            self._heard[trial] = now
        return [(trial, workers[trial]) for trial in late]
