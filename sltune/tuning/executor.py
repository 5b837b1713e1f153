"""Ray Tune as the executor of a campaign, and no more: it places trials, keeps actors warm, restarts dead ones."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from sltune.errors import SltuneError, UsageError
from sltune.record import TrialKey
from sltune.tuning.campaign import Campaign, Finished
from sltune.tuning.cluster import Share
from sltune.tuning.job import Outcome
from sltune.tuning.progress import Progress
from sltune.tuning.scalars import ScalarLog
from sltune.tuning.trial import JOB, OUTCOME, ROW, SharedData, TrialWorker

RETRIES_AFTER_DEATH = 2


@dataclass(frozen=True)
class Placement:
    """How trials run: what each gets, how many at once, and the device they are told to use."""

    share: Share
    concurrent: int
    device: str


def execute(campaign: Campaign, shared: SharedData, placement: Placement, progress: Progress) -> None:
    """Run every trial that the campaign hands out; returns when all are over or the user interrupts.

    Raises:
        UsageError: the run folder cannot be written any more.
    """
    _quieten_tune()
    reporter = _Reporter(campaign, progress)
    # Tune keeps a state of its own, which we never read: it may vanish with the run.
    with tempfile.TemporaryDirectory(prefix="sltune-tune-") as scratch:
        tuner = _tuner(campaign, shared, placement, reporter, scratch)
        try:
            tuner.fit()
        except TuneError:
            if reporter.error is None:
                raise
            again = f"make room, then: sltune resume {campaign.folder.root}"
            raise UsageError(f"{reporter.error}; {again}") from None
        finally:
            reporter.close()


def _tuner(
    campaign: Campaign, shared: SharedData, placement: Placement, reporter: _Reporter, scratch: str
) -> tune.Tuner:
    resources = {"cpu": placement.share.cpus, "gpu": placement.share.gpus}
    return tune.Tuner(
        tune.with_resources(tune.with_parameters(TrialWorker, shared=shared), resources),
        tune_config=tune.TuneConfig(
            search_alg=_CampaignSearcher(campaign, placement.device),
            num_samples=campaign.left,
            max_concurrent_trials=placement.concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=scratch,
            name="run",
            verbose=0,
            callbacks=[reporter],
            failure_config=tune.FailureConfig(max_failures=RETRIES_AFTER_DEATH),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


class _CampaignSearcher(Searcher):
    """Gives Tune the campaign's next trial."""

    def __init__(self, campaign: Campaign, device: str) -> None:
        super().__init__()
        self._campaign = campaign
        self._device = device

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        key = self._campaign.next_trial()
        # num_samples is the number of trials left, so Tune never asks for more.
        assert key is not None
        return TrialWorker.describe(key, self._campaign.configuration, self._device)

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the reporter has passed on what came of the trial."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the campaign's records are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a run goes on from its records."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Reporter(tune.Callback):
    """Passes results from Tune to the campaign and the progress display.

    error: what kept it from writing, which Tune hides in a text.
    """

    def __init__(self, campaign: Campaign, progress: Progress) -> None:
        self.error: Exception | None = None
        self._campaign = campaign
        self._progress = progress
        self._scalars = ScalarLog(campaign.folder)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._progress.start(_key(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        key = _key(trial)
        with self._noting_errors():
            if ROW in result:
                self._campaign.add_epoch(key, result[ROW])
                self._scalars.epoch(key, result[ROW])
                self._progress.epoch(key, result[ROW])
            else:
                # Taken out, since Tune would keep the weights of every trial in memory.
                outcome: Outcome = result.pop(OUTCOME)
                self._finish(key, _finished(outcome, result))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note a trial whose process or node died more often than it is retried."""
        trace = Path(trial.error_file) if trial.error_file else None
        last = trace.read_text(encoding="utf-8", errors="replace") if trace and trace.exists() else "no trace"
        error = f"the worker was lost {RETRIES_AFTER_DEATH + 1} times; the last time:\n{last}"
        with self._noting_errors():
            self._finish(_key(trial), Finished("failed", error, {}, {}, None, {}, {}, {}))

    def close(self) -> None:
        """Close the event files of trials that have not ended."""
        self._scalars.close()

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        try:
            yield
        except (SltuneError, OSError) as error:
            self.error = error
            raise

    def _finish(self, key: TrialKey, finished: Finished) -> None:
        record = self._campaign.finish(key, finished)
        self._scalars.finish(record)
        self._progress.finish(record)

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks; ours holds open files and needs no copy.
        return {}


def _key(trial: Trial) -> TrialKey:
    return TrialKey(**trial.config[JOB]["key"])


def _finished(outcome: Outcome, result: Mapping[str, Any]) -> Finished:
    return Finished(
        status=outcome.status,
        error=outcome.error,
        splits={name: list(part) for name, part in asdict(outcome.split).items()} if outcome.split else {},
        metrics=outcome.metrics,
        weights=outcome.weights,
        timings=result["timings"],
        device=result["device"],
        versions=result["versions"],
    )


def _quieten_tune() -> None:
    """Keep Tune from printing, from writing logs for every trial, and from saving a state that nobody reads."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1000000"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    logging.getLogger("ray").setLevel(logging.ERROR)
