"""What Ray Tune is given to work by: its searcher and its scheduler, which ask the campaign, and silence."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sltune.tuning.execution.callbacks import Callbacks
from sltune.tuning.execution.worker import REPORT

QUIET = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_GLOBAL_CHECKPOINT_S": "1000000", "RAY_AIR_NEW_OUTPUT": "0"}
"""Variables by which Tune is told to say and write nothing."""


class CampaignSearcher(Searcher):
    """Gives Tune the campaign's next trial."""

    def __init__(self, callbacks: Callbacks) -> None:
        super().__init__()
        self._callbacks = callbacks

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        return self._callbacks.next_trial()  # type: ignore[return-value]

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the callbacks have passed on what came of the trial."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the campaign's records are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a run goes on from its records."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class CampaignScheduler(FIFOScheduler):
    """Ends trials that the campaign does not want any more."""

    def __init__(self, callbacks: Callbacks) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._callbacks = callbacks

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._callbacks.watch(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        stops = self._callbacks.epochs(trial, *result[REPORT])
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class NoReporter(tune.ProgressReporter):
    """Keeps Tune's own reporter away, which in a notebook clears what the cell shows."""

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        return False


@contextmanager
def quiet_tune() -> Iterator[None]:
    """Keep Tune from printing, from writing logs for every trial, and from saving a state that nobody reads.

    A notebook may run a Tune of its user's afterwards, which is to behave as it did before.
    """
    log = logging.getLogger("ray")
    level, before = log.level, {name: os.environ.get(name) for name in QUIET}
    os.environ.update(QUIET)
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
